"""Measure how fast a network trains and embeds: the training engine and a plain loop, in turns.

Both learn from the same drawn batches of random crops, stored as uint8. The plain loop does what
most training code does: one crop after the other through Pillow, augmented one at a time, in full
precision, with one optimiser kernel per tensor. Embedding is compared the same way.

::

    python benchmarks/training_throughput.py --device cuda --backbone resnet50 --compile

The last line is one JSON object. Its ratios compare with other machines; its rates do not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from training.core.backbone import PartlyFrozen
from training.core.distributed import World
from training.core.engine import Batch, build_learner, embed_together
from training.core.method_options import MemoryOptions
from training.core.options import AugmentOptions, ScheduleOptions
from training.core.pixels import Pixels
from training.core.transforms import IMAGENET_MEAN, IMAGENET_STD
from training.hhcl.loop import train_one_epoch
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.memory import Memory
from training.hhcl.network import build_network

CROPS_PER_CLUSTER = 4
ON_CUDA = {"backbone": "resnet50", "height": 256, "width": 128, "batch": 256, "batches": 20}
ON_CPU = {"backbone": "mobilenet_v2", "height": 128, "width": 64, "batch": 16, "batches": 2}


def main() -> None:
    arguments = parse()
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    rng = np.random.default_rng(0)
    shape = (2 * arguments.batch, arguments.height, arguments.width, 3)
    crops = rng.integers(0, 256, shape, dtype=np.uint8)
    engine, plain = Engine(crops, arguments, device), PlainLoop(crops, arguments, device)
    rates = {
        "training": in_turns(engine.train, plain.train, arguments.turns, device),
        "embedding": in_turns(engine.embed, plain.embed, arguments.turns, device),
    }
    report = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        **{name: getattr(arguments, name) for name in (*ON_CPU, "frozen", "compile")},
    }
    for name, (own, other) in rates.items():
        report |= {
            f"{name}_images_per_second": round(own, 1),
            f"{name}_plain_images_per_second": round(other, 1),
            f"{name}_ratio": round(own / other, 2),
        }
        print(f"{name}: {own:.1f} images/s, plain loop {other:.1f}, ratio {own / other:.2f}")
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--backbone", choices=["resnet50", "resnet18", "mobilenet_v2"])
    parser.add_argument("--height", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch", type=int, help="crops, a multiple of 4")
    parser.add_argument("--batches", type=int, help="batches per turn")
    parser.add_argument("--frozen", type=int, default=0, help="first stages that do not learn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the engine's network")
    arguments = parser.parse_args()
    for name, value in (ON_CUDA if arguments.device == "cuda" else ON_CPU).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.batch % CROPS_PER_CLUSTER:
        parser.error(f"--batch must be a multiple of {CROPS_PER_CLUSTER}")
    return arguments


def in_turns(
    engine: Callable[[], int], plain: Callable[[], int], turns: int, device: torch.device
) -> tuple[float, float]:
    """Return the median images per second of both, after one uncounted turn each."""
    rates: dict[Callable[[], int], list[float]] = {engine: [], plain: []}
    for turn in range(turns + 1):
        for work, measured in rates.items():
            start = time.perf_counter()
            images = work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                measured.append(images / (time.perf_counter() - start))
    return median(rates[engine]), median(rates[plain])


def draw_batch(
    count: int, arguments: argparse.Namespace, rng: np.random.Generator
) -> NDArray[np.int64]:
    return rng.choice(count, size=arguments.batch, replace=False)


def labels_of(arguments: argparse.Namespace) -> NDArray[np.int64]:
    return np.arange(arguments.batch, dtype=np.int64) // CROPS_PER_CLUSTER


def new_memory(arguments: argparse.Namespace, dimension: int, device: torch.device) -> Memory:
    rng, labels = np.random.default_rng(2), labels_of(arguments)
    rows = rng.standard_normal((len(labels), dimension), dtype=np.float32)
    crops = ClusteredCrops(rows, labels, np.zeros_like(labels))
    return build_memory(crops, MemoryOptions(), CROPS_PER_CLUSTER, rng, device)


class Engine:
    """What the project does: crops on the device, batched augmentation, AMP on CUDA."""

    def __init__(
        self, crops: NDArray[np.uint8], arguments: argparse.Namespace, device: torch.device
    ) -> None:
        self._arguments = arguments
        self._count = len(crops)
        self._world = World(device)
        self._pixels = Pixels(crops, device, on_device=True)
        network = build_network(arguments.backbone, weights="none").to(device)
        network.features = PartlyFrozen(network.features, arguments.frozen)
        schedule = ScheduleOptions()
        self._learner = build_learner(network, schedule, self._world, compiled=arguments.compile)
        self._memory = new_memory(arguments, network.dimension, device)

    def train(self) -> int:
        """Train for one turn; return the number of images."""
        rng = np.random.default_rng(1)
        labels = labels_of(self._arguments)
        batches = (
            Batch(
                self._pixels.take(draw_batch(self._count, self._arguments, rng)),
                labels,
                np.zeros_like(labels),
            )
            for _ in range(self._arguments.batches)
        )
        train_one_epoch(self._learner, self._memory, batches, AugmentOptions(), rng)
        return int(self._arguments.batch * self._arguments.batches)

    def embed(self) -> int:
        """Embed for one turn; return the number of images."""
        return len(
            embed_together(
                self._learner.network, self._pixels, self._world, kind=self._learner.kind
            )
        )


class PlainLoop:
    """What most training code does, with the same network, loss and batch."""

    def __init__(
        self, crops: NDArray[np.uint8], arguments: argparse.Namespace, device: torch.device
    ) -> None:
        self._arguments = arguments
        self._device = device
        self._crops = [Image.fromarray(crop) for crop in crops]
        network = build_network(arguments.backbone, weights="none")
        self._frozen = list(network.features)[: arguments.frozen]
        for stage in self._frozen:
            stage.requires_grad_(requires_grad=False)
        self._network = network.to(device, memory_format=torch.contiguous_format)
        self._optimiser = torch.optim.Adam(
            [p for p in network.parameters() if p.requires_grad], foreach=False
        )
        self._memory = new_memory(arguments, network.dimension, device)
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        normalise = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self._plain = v2.Compose([*to_tensor, normalise])
        self._augment = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.Pad(10),
                v2.RandomCrop((arguments.height, arguments.width)),
                *to_tensor,
                normalise,
                v2.RandomErasing(0.5, scale=(0.02, 0.4), value=IMAGENET_MEAN),
            ]
        )

    def _stack(self, transform: v2.Transform, indices: NDArray[np.int64]) -> Tensor:
        return torch.stack([transform(self._crops[i]) for i in indices]).to(self._device)

    def train(self) -> int:
        """Train for one turn; return the number of images."""
        rng = np.random.default_rng(1)
        labels = torch.from_numpy(labels_of(self._arguments)).to(self._device)
        self._network.train()
        for stage in self._frozen:
            stage.eval()
        for _ in range(self._arguments.batches):
            drawn = draw_batch(len(self._crops), self._arguments, rng)
            embeddings = self._network(self._stack(self._augment, drawn))
            loss = self._memory.loss(embeddings, labels, torch.zeros_like(labels))
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            self._memory.update(embeddings.detach(), labels)
        return int(self._arguments.batch * self._arguments.batches)

    @torch.inference_mode()
    def embed(self) -> int:
        """Embed for one turn; return the number of images."""
        self._network.eval()
        for start in range(0, len(self._crops), 64):
            indices = np.arange(start, min(start + 64, len(self._crops)))
            self._network(self._stack(self._plain, indices)).cpu()
        return len(self._crops)


if __name__ == "__main__":
    main()
