"""What learns, what it sees at once, and embedding every crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.core.checkpoint import parameters_of
from training.core.distributed import World
from training.core.options import ScheduleOptions
from training.core.pixels import Pixels
from training.core.transforms import normalise

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """What the processes of a run see at once.

    Attributes:
        pixels: (b, H, W, 3) uint8 on this process's device: its own crops of the batch.
        labels: (B,) int64 pseudo-labels of the whole batch.
        cameras: (B,) int64, likewise.
        crops_per_cluster: K; a cluster's crops lie side by side and go to one process.
    """

    pixels: Tensor
    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]
    crops_per_cluster: int = 1


@dataclass(frozen=True, slots=True)
class Learner:
    """What learns.

    Attributes:
        network: maps (N, 3, H, W) to unit rows; what is saved and embeds.
        forward: the same network for training: shared by the processes, compiled, or itself.
        optimiser: over the network's parameters.
        world: the processes that share a batch.
    """

    network: nn.Module
    forward: nn.Module
    optimiser: torch.optim.Optimizer
    world: World


def build_learner(
    network: nn.Module, schedule: ScheduleOptions, world: World, *, compiled: bool = False
) -> Learner:
    """Make a network ready to learn.

    Args:
        network: on the world's device.
        schedule: of the run.
        world: the processes of the run.
        compiled: whether the training passes are compiled; the network's own names stay.

    Returns:
        The learner.
    """
    forward = world.wrap(network)
    if compiled:
        forward = torch.compile(forward)  # type: ignore[assignment]  # a module stays a module
    return Learner(network, forward, build_optimiser(network, schedule, world.device), world)


def build_optimiser(
    network: nn.Module, schedule: ScheduleOptions, device: torch.device
) -> torch.optim.Optimizer:
    """Adam, as HHCL, or SGD with Nesterov momentum 0.9, as SCL.

    Args:
        network: whose parameters learn.
        schedule: learning rate and weight decay.
        device: where they live; on CUDA one kernel steps all of them.

    Returns:
        The optimiser.
    """
    parameters, fused = parameters_of(network), device.type == "cuda"
    rate, decay = schedule.learning_rate, schedule.weight_decay
    match schedule.optimiser:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "sgd":
            return torch.optim.SGD(
                parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=True, fused=fused
            )


def extract_embeddings(
    network: nn.Module,
    images: NDArray[np.uint8],
    device: torch.device,
    *,
    batch: int | None = None,
) -> Float32s:
    """Embed every crop in float32, in evaluation mode.

    Args:
        network: maps (N, 3, H, W) to unit rows; left in evaluation mode.
        images: (N, H, W, 3) uint8.
        device: where the network lives.
        batch: crops at a time; by default what suits the device.

    Returns:
        (N, D) float32, unit rows; row i belongs to image i.
    """
    pixels = Pixels(images, device)
    return _embed(network, pixels, np.arange(len(images)), batch or _batch_for(device)).numpy()


def embed_together(network: nn.Module, pixels: Pixels, world: World) -> Float32s:
    """Embed a run's crops for clustering, each process a part; on CUDA in bfloat16 (AMP).

    Args:
        network: maps (N, 3, H, W) to unit rows; left in evaluation mode.
        pixels: N crops, the same in every process.
        world: the processes.

    Returns:
        (N, D) float32, unit rows, the same in every process; row i belongs to crop i.
    """
    own = world.share(len(pixels))
    rows = np.arange(own.start, own.stop)
    with torch.autocast(world.device.type, torch.bfloat16, enabled=world.device.type == "cuda"):
        embeddings = _embed(network, pixels, rows, _batch_for(world.device))
    together: Float32s = world.gather(embeddings, len(pixels)).numpy()
    return together


def _batch_for(device: torch.device) -> int:
    """A CPU is fastest while the maps stay in its cache, a GPU while it has much to do at once."""
    return 512 if device.type == "cuda" else 32


@torch.inference_mode()
def _embed(network: nn.Module, pixels: Pixels, rows: NDArray[np.int64], batch: int) -> Tensor:
    network.eval()
    starts = tqdm(range(0, len(rows), batch), desc="embed", unit="batch", leave=False)
    parts = [network(normalise(pixels.take(rows[start : start + batch]))) for start in starts]
    # One copy at the end: a copy a batch would make the GPU wait for each.
    return torch.cat(parts).float().cpu()
