"""The two passes of an epoch: embedding every crop, and learning from batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.options import AugmentOptions
from training.transforms import augment, normalise

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """What the network sees at once.

    Attributes:
        pixels: (B, H, W, 3) uint8.
        labels: (B,) int64 pseudo-labels.
        cameras: (B,) int64.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]


class Memory(Protocol):
    """What an epoch needs of a memory."""

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Loss of a batch; writes nothing."""
        ...

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take the batch in, after its gradient."""
        ...


@torch.inference_mode()
def extract_embeddings(
    network: nn.Module, images: NDArray[np.uint8], device: torch.device, *, batch: int = 32
) -> Float32s:
    """Embed every crop, in evaluation mode.

    Args:
        network: maps (N, 3, H, W) to unit rows; left in evaluation mode.
        images: (N, H, W, 3) uint8.
        device: where the network lives.
        batch: crops at a time; a CPU is fastest while the maps stay in its cache.

    Returns:
        (N, D) float32, unit rows; row i belongs to image i.
    """
    network.eval()
    starts = tqdm(range(0, len(images), batch), desc="embed", unit="batch", leave=False)
    parts = [
        network(normalise(torch.from_numpy(images[start : start + batch]).to(device))).cpu()
        for start in starts
    ]
    embeddings: Float32s = torch.cat(parts).numpy()
    return embeddings


def train_one_epoch(
    network: nn.Module,
    memory: Memory,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[Batch],
    options: AugmentOptions,
    rng: np.random.Generator,
) -> float:
    """Learn from every batch once: loss, backward, step, then the memory.

    On CUDA the forward pass runs in bfloat16 where that is safe (AMP); losses stay float32.

    Args:
        network: maps (N, 3, H, W) to unit rows; left in training mode.
        memory: the contrast.
        optimiser: over the network's parameters.
        batches: at least one.
        options: augmentation.
        rng: source of every choice.

    Returns:
        Mean loss.
    """
    network.train()
    device = next(network.parameters()).device
    losses = []
    for batch in batches:
        images = augment(torch.from_numpy(batch.pixels).to(device), options, rng)
        labels = torch.from_numpy(batch.labels).to(device)
        cameras = torch.from_numpy(batch.cameras).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            embeddings = network(images)
        loss = memory.loss(embeddings, labels, cameras)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        memory.update(embeddings.detach(), labels)
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())
