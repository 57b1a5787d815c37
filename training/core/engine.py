"""The network with its optimiser and schedule, a batch, and embedding all crops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR
from tqdm import tqdm

from training.core.averaging import Average
from training.core.distributed import World
from training.core.folding import fold_norms
from training.core.options import ScheduleOptions
from training.core.pixels import Pixels
from training.core.precision import Precision, number_type, passes_in
from training.core.transforms import Donors, normalise

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, as one of the run's processes holds it.

    Attributes:
        pixels: (b, H, W, 3) uint8 on this process's device: its own crops of the batch.
        labels: (B,) int64 pseudo-labels of the whole batch.
        cameras: (B,) int64, likewise.
        crops_per_cluster: K; a cluster's crops are contiguous and go to one process.
        donors: whose colours the crops of the whole batch may get; None leaves their own.
    """

    pixels: Tensor
    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]
    crops_per_cluster: int = 1
    donors: Donors | None = None


@dataclass(frozen=True, slots=True)
class Learner:
    """The network that learns, and what its training needs.

    Attributes:
        network: maps (N, 3, H, W) to unit rows.
        forward: the same network for training passes, distributed or compiled if the run asks.
        optimiser: over the network's parameters.
        world: the processes that share a batch.
        kind: type in which forward passes compute.
        average: of the network's steps; None if the run does without.
    """

    network: nn.Module
    forward: nn.Module
    optimiser: torch.optim.Optimizer
    world: World
    kind: torch.dtype = torch.float32
    average: Average[Any] | None = None

    def step(self) -> None:
        """Step the optimiser; the average follows."""
        self.optimiser.step()
        if self.average is not None:
            self.average.follow(self.network)

    def restart_average(self) -> None:
        """Begin the average anew at the network as it is, whatever it followed before."""
        if self.average is not None:
            self.average.restore(self.network.state_dict(), steps=0)

    def share_buffers(self) -> None:
        """Give every process the first one's running statistics, and their average."""
        self.world.share_buffers(self.network)
        if self.average is not None:
            self.world.share_buffers(self.average.network)


def build_learner(
    network: nn.Module,
    schedule: ScheduleOptions,
    world: World,
    *,
    compiled: bool = False,
    precision: Precision = "auto",
) -> Learner:
    """Prepare a network for training.

    Args:
        network: on the world's device.
        schedule: the run's schedule.
        world: the run's processes.
        compiled: compile the training passes; the names in the network's state dict stay.
        precision: of the forward passes.

    Returns:
        The learner.
    """
    forward = world.wrap(network)
    if compiled:
        forward = torch.compile(forward)  # type: ignore[assignment]  # a module stays a module
    optimiser = build_optimiser(network, schedule, world.device)
    kind = number_type(precision, world.device)
    average = Average(network, schedule.average) if schedule.average else None
    return Learner(network, forward, optimiser, world, kind, average)


def build_optimiser(
    network: nn.Module, schedule: ScheduleOptions, device: torch.device
) -> torch.optim.Optimizer:
    """Build Adam, as in HHCL, or SGD with Nesterov momentum 0.9, as in SCL.

    Args:
        network: the network whose parameters learn.
        schedule: learning rate and weight decay.
        device: where the parameters are; on CUDA one kernel steps all of them.

    Returns:
        The optimiser.
    """
    parameters = [each for each in network.parameters() if each.requires_grad]
    fused = device.type == "cuda"
    rate, decay = schedule.learning_rate, schedule.weight_decay
    match schedule.optimiser:
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=fused)
        case "sgd":
            return torch.optim.SGD(
                parameters, lr=rate, weight_decay=decay, momentum=0.9, nesterov=True, fused=fused
            )


def build_scheduler(optimiser: torch.optim.Optimizer, schedule: ScheduleOptions) -> LRScheduler:
    """Build what changes the learning rate; it is stepped once per epoch.

    Args:
        optimiser: at the schedule's learning rate.
        schedule: the run's schedule.

    Returns:
        The scheduler; the papers' steps are torch's own, whose state older checkpoints hold.
    """
    if schedule.shape == "step" and schedule.rate_warmup == 0:
        return StepLR(optimiser, schedule.step, schedule.decay)
    return LambdaLR(optimiser, partial(rate_factor, schedule=schedule))


def rate_factor(epoch: int, schedule: ScheduleOptions) -> float:
    """Compute by which factor an epoch's learning rate differs from the schedule's.

    Args:
        epoch: number of finished epochs.
        schedule: the run's schedule.

    Returns:
        The factor, > 0 in every epoch of the run, at most 1.
    """
    rise = schedule.rate_warmup
    if epoch < rise:
        return (epoch + 1) / (rise + 1)
    match schedule.shape:
        case "step":
            return float(schedule.decay ** (epoch // schedule.step))
        case "cosine":
            share = (epoch - rise) / max(schedule.epochs - rise, 1)
            return (1 + math.cos(math.pi * share)) / 2


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
        device: where the network is.
        batch: crops per forward pass; the default suits the device.

    Returns:
        (N, D) float32, unit rows; row i belongs to image i.
    """
    pixels = Pixels(images, device)
    return _embed(network, pixels, np.arange(len(images)), batch or _batch_for(device)).numpy()


def embed_together(
    network: nn.Module,
    pixels: Pixels,
    world: World,
    chosen: NDArray[np.int64] | None = None,
    kind: torch.dtype = torch.float32,
) -> Float32s:
    """Embed a run's crops for clustering, one part per process.

    Args:
        network: maps (N, 3, H, W) to unit rows; left in evaluation mode.
        pixels: the crops, the same in every process.
        world: the run's processes.
        chosen: (N,) int64, which crops to embed; None means all.
        kind: type in which forward passes compute.

    Returns:
        (N, D) float32, unit rows, the same in every process; row i belongs to crop ``chosen[i]``.
    """
    rows = np.arange(len(pixels)) if chosen is None else chosen
    with passes_in(kind, world.device):
        own = rows[world.share(len(rows))]
        embeddings = _embed(network, pixels, own, _batch_for(world.device))
    together: Float32s = world.gather(embeddings, len(rows)).numpy()
    return together


def _batch_for(device: torch.device) -> int:
    """A CPU is fastest if the maps fit in its cache; a GPU needs a lot of work at once."""
    return 512 if device.type == "cuda" else 32


@torch.inference_mode()
def _embed(network: nn.Module, pixels: Pixels, rows: NDArray[np.int64], batch: int) -> Tensor:
    network.eval()
    folded = fold_norms(network)
    starts = tqdm(range(0, len(rows), batch), desc="embed", unit="batch", leave=False)
    parts = [folded(normalise(pixels.take(rows[start : start + batch]))) for start in starts]
    # Copy once at the end: a copy per batch would make the GPU wait each time.
    return torch.cat(parts).float().cpu()
