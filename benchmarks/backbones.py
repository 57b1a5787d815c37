"""Compare backbones: parameters, size of the last map, time to embed a crop.

Each network has random weights, which cost the same time as learned ones. All of them embed the
same crops in turns, in evaluation mode and float32.

::

    python benchmarks/backbones.py mobilenet_v2 resnet50_ibn timm/mobilenetv3_large_100

The last line is one JSON object. Its ratios compare with other machines; its times do not.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from service.errors import InvalidInput
from training.core.engine import extract_embeddings
from training.hhcl.network import EmbeddingNetwork, build_network

OURS = ("mobilenet_v2", "resnet18", "resnet50", "resnet50_ibn")
OF_TIMM = ("timm/mobilenetv3_large_100", "timm/tf_efficientnet_lite0")


@dataclass(frozen=True)
class Compared:
    """One backbone, and the seconds that each turn took."""

    name: str
    network: EmbeddingNetwork
    last_stride: int
    seconds: list[float]


def main() -> None:
    arguments = parse()
    torch.manual_seed(0)
    size = (arguments.height, arguments.width)
    crops = np.random.default_rng(0).integers(0, 256, (arguments.crops, *size, 3), dtype=np.uint8)
    compared = [build(name) for name in arguments.backbones]
    take_turns(compared, crops, arguments.turns)
    first = median(compared[0].seconds)
    rows = [describe(each, crops, first) for each in compared]
    for row in rows:
        print(
            f"{row['backbone']}: {row['million_parameters']} M parameters, {row['channels']} x "
            f"{row['map'][0]} x {row['map'][1]}, {row['milliseconds_per_crop']} ms, "
            f"ratio {row['ratio']}"
        )
    report = {"threads": torch.get_num_threads(), "size": size, "backbones": rows}
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    known = OURS + (OF_TIMM if find_spec("timm") else ())
    parser.add_argument("backbones", nargs="*", default=known, help="the first one's time is 1")
    parser.add_argument("--height", type=int, default=160)
    parser.add_argument("--width", type=int, default=80)
    parser.add_argument("--crops", type=int, default=32, help="embedded in one turn")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


def build(name: str) -> Compared:
    """Build a network with the papers' last stride of 1, or with 2 where 1 is impossible."""
    try:
        return Compared(name, build_network(name, weights="none"), 1, [])
    except InvalidInput:
        return Compared(name, build_network(name, weights="none", last_stride=2), 2, [])


def take_turns(compared: list[Compared], crops: NDArray[np.uint8], turns: int) -> None:
    for turn in range(turns + 1):
        for each in compared:
            start = time.perf_counter()
            extract_embeddings(each.network, crops, torch.device("cpu"))
            if turn:  # the first one warms up
                each.seconds.append(time.perf_counter() - start)


def describe(each: Compared, crops: NDArray[np.uint8], first: float) -> dict[str, object]:
    with torch.inference_mode():
        features = each.network.features(torch.zeros(1, 3, *crops.shape[1:3]))
    count = sum(parameter.numel() for parameter in each.network.parameters())
    return {
        "backbone": each.name,
        "million_parameters": round(count / 1e6, 1),
        "channels": features.shape[1],
        "map": list(features.shape[2:]),
        "last_stride": each.last_stride,
        "milliseconds_per_crop": round(1000 * median(each.seconds) / len(crops), 1),
        "ratio": round(median(each.seconds) / first, 2),
    }


if __name__ == "__main__":
    main()
