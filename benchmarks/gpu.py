"""Measure what a GPU brings: embedding, search, the neighbours of clustering, training.

Each part runs on the GPU and on the CPU, compares their results before any time counts, and says
how many times as fast the GPU was:

- embedding by a model, in the batches that a bulk index sends;
- searches in a gallery of made-up people, all of it (on the GPU) and filtered (always on the CPU);
- the nearest rows of every row, which clustering and re-ranking need: the service's exact search on
  the CPU, one product after the other on the GPU;
- batches of training and of embedding in training.

::

    python benchmarks/gpu.py --crops 1000000 --rows 20000 --backbone resnet50

On a machine without a GPU it runs small on the CPU, so that the script itself is tested, and says
``"device": "cpu"``: then no figure says anything about a GPU. The exit status is 1 if a result
differs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from galleries.made_up import CAMERAS, CROPS_OF_A_PERSON, People, crops_of_people
from numpy.typing import NDArray
from training_throughput import Engine

from service.embedding.onnx_embedder import OnnxEmbedder
from service.gallery.base import Crop
from service.gallery.rows.live_rows import LiveRows
from service.gallery.rows.nearest import Gpu, nearest
from service.search.neighbours import nearest_of_all

Float32s = NDArray[np.float32]
Device = Literal["cuda", "cpu"]

TOP_K, LENGTH = 10, 30
QUERIES = 32
CLOSE = 0.999
"""Cosine of a crop's embeddings by both devices, at least."""
SAME_LISTS = 0.999
"""Share of equal neighbours, at least: rows that are equally near but for rounding may swap."""
SIZES: dict[Device, dict[str, int | str]] = {
    "cuda": {"images": 20_000, "crops": 1_000_000, "rows": 20_000, "backbone": "resnet50"},
    "cpu": {"images": 128, "crops": 5000, "rows": 2000, "backbone": "mobilenet_v2"},
}


def main() -> None:
    arguments = parse()
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, value in SIZES[device].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    report: dict[str, Any] = {
        "benchmark": "gpu",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "embedding": embedding(arguments, device),
        "search": search(arguments, device),
        "neighbours": neighbours(arguments, device),
        "training": training(arguments, device),
    }
    print(json.dumps(report))
    sys.exit(
        1 if any(part.get("differs") for part in report.values() if isinstance(part, dict)) else 0
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-synthetic"))
    parser.add_argument("--images", type=int, help="to embed")
    parser.add_argument("--crops", type=int, help="of the gallery")
    parser.add_argument("--rows", type=int, help="whose neighbours are found")
    parser.add_argument("--dimension", type=int, default=1280)
    parser.add_argument("--backbone", help="to train")
    return parser.parse_args()


def embedding(arguments: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Images per second of both devices."""
    own, other = (OnnxEmbedder(arguments.model, device=one) for one in (device, "cpu"))
    side = own.manifest.input_height, own.manifest.input_width
    images = np.random.default_rng(0).integers(0, 256, (256, *side, 3), dtype=np.uint8)
    few = images[:64]
    cosine = float((own.embed(few) * other.embed(few)).sum(axis=1).min())
    rounds = max(1, arguments.images // len(images))
    seconds, slow = (
        seconds_of(partial(one.embed, images), rounds if one is own else 1) for one in (own, other)
    )
    return {
        "images per second": round(len(images) / seconds, 1),
        "times the CPU": round(slow / seconds, 2),
        "least cosine": round(cosine, 6),
        "differs": cosine < CLOSE,
    }


def search(arguments: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Milliseconds of a search of one query and of 32, with and without the mirror on the GPU."""
    rows, queries = gallery_of(arguments)
    view = rows.now()
    everything = view.alive  # the very mask that a mirror answers
    mirror = Gpu(required=True).mirror(arguments.dimension) if device == "cuda" else None
    part = everything & (np.arange(len(everything)) % 10 < 7)
    report: dict[str, Any] = {"crops": len(view.crops), "differs": False}
    for count in (1, QUERIES):
        ask = partial(nearest, view, queries=queries[:count], top_k=TOP_K)
        own, plain = partial(ask, everything, mirror=mirror), partial(ask, everything)
        report["differs"] |= own() != plain()
        fast, slow = seconds_of(own, 5), seconds_of(plain, 5)
        report[f"{count} at once"] = {
            "ms": round(1000 * fast, 2),
            "times the CPU": round(slow / fast, 2),
            "ms, filter that keeps 70 %": round(
                1000 * seconds_of(partial(ask, part, mirror=mirror), 5), 2
            ),
        }
    return report


def gallery_of(arguments: argparse.Namespace) -> tuple[LiveRows, Float32s]:
    rng = np.random.default_rng(0)
    count = arguments.crops
    people = People.draw(count // CROPS_OF_A_PERSON + 1, CAMERAS, arguments.dimension, seed=0)
    rows = LiveRows(arguments.dimension)
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        person = rng.integers(len(people.people), size=size)
        camera = rng.integers(CAMERAS, size=size)
        crops = [Crop(f"{start + place:08d}", camera=f"c{own}") for place, own in enumerate(camera)]
        rows.put(crops, people.embeddings(person, camera, rng))
    return rows, rows.now().columns.vectors[rng.integers(count, size=QUERIES)]


def neighbours(arguments: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Seconds to find the nearest of every row."""
    rows = crops_of_people(arguments.rows, arguments.dimension)
    own = partial(nearest_by_products, rows, LENGTH, torch.device(device))
    plain = partial(nearest_of_all, rows, LENGTH)
    pairs = zip(own(), plain().rank, strict=True)
    share = float(np.mean([len(np.intersect1d(*lists)) for lists in pairs])) / LENGTH
    fast, slow = seconds_of(own, 3), seconds_of(plain, 1)
    return {
        "rows": arguments.rows,
        "seconds": round(fast, 3),
        "times the CPU": round(slow / fast, 2),
        "share of equal neighbours": round(share, 5),
        "differs": share < SAME_LISTS,
    }


def nearest_by_products(rows: Float32s, length: int, device: torch.device) -> NDArray[np.int64]:
    """The nearest of every row, by products of blocks of rows with all rows."""
    there = torch.from_numpy(rows).to(device)
    blocks = [(block @ there.T).topk(length).indices.cpu() for block in there.split(2048)]
    return torch.cat(blocks).numpy()


def training(arguments: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Images per second of the training engine; :mod:`training_throughput` has a plain loop too."""
    large = device == "cuda"
    height, width, batch = (256, 128, 256) if large else (128, 64, 16)
    options = argparse.Namespace(
        backbone=arguments.backbone,
        batch=batch,
        batches=20 if large else 2,
        frozen=0,
        compile=False,
    )
    crops = np.random.default_rng(2).integers(0, 256, (2 * batch, height, width, 3), dtype=np.uint8)
    engine = Engine(crops, options, torch.device(device))
    return {
        f"{name} images per second": round(work() / seconds_of(work, 3), 1)
        for name, work in (("training", engine.train), ("embedding", engine.embed))
    } | {"height": height, "width": width, "batch": batch, "backbone": arguments.backbone}


def seconds_of(work: Callable[[], object], rounds: int) -> float:
    """The median, after one call that does not count."""
    work()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
