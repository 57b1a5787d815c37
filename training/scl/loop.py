"""SCL's training loop (Pang et al. 2022).

::

    fill the global and the local bank with the features of all crops   describe_all
    for each epoch
        for each batch of plainly shuffled crops                        _batches
            describe the batch by global and local features             train_step
            select the nearest crops as positives, the next as negatives
            compute the loss against the mixture bank
            take a gradient step on the network
            write the batch into the three banks

In the first epochs, the warm-up, a crop is its own only positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.checkpoint import FILE_NAME, Checkpoint
from training.core.config import TrainConfig
from training.core.distributed import World, open_world
from training.core.engine import build_optimiser
from training.core.transforms import augment
from training.networks.exported import start_network
from training.run.epoch_end import end_epochs
from training.run.setup import Crops, read_crops, saved_checkpoint, seed_epoch
from training.run.state import RunState, mean_loss
from training.scl.banks import Banks, Selection, SelectiveContrast
from training.scl.measuring import measure_scl_epoch
from training.scl.network import Features, PartNetwork

Int64s = NDArray[np.int64]


def run(config: TrainConfig, output: Path, device: torch.device, *, resume: bool = False) -> Path:
    """Train to the last epoch, in one process.

    Args:
        config: the run's config.
        output: the run's folder: checkpoint with the banks, metrics, TensorBoard logs.
        device: where the network runs and the banks are kept.
        resume: continue the run in the folder.

    Returns:
        The checkpoint of the last epoch.

    Raises:
        InvalidInput: data, weights or the folder do not allow the run; the message says why.
    """
    with open_world(device) as world:
        _check(config, world)
        output.mkdir(parents=True, exist_ok=True)
        saved = saved_checkpoint(config, output, resume=resume)
        crops = read_crops(config, output, world)
        state, contrast = _start(config, crops, saved, device, output)
        measure = partial(measure_scl_epoch, state.network, crops, config, device)
        with end_epochs(output, config, saved, measure, world) as end:
            del saved  # it takes as much memory as the network, its optimiser and the banks
            for epoch in range(state.finished + 1, config.schedule.epochs + 1):
                loss = train_one_epoch(state, contrast, crops, config, epoch)
                banks = contrast.banks._asdict()
                finished = state.finish_epoch(epoch, loss, config, banks=banks)
                if end is not None:
                    end.keep(finished)
    return output / FILE_NAME


def _check(config: TrainConfig, world: World) -> None:
    """Reject options of the other method, because ignoring them silently would mislead."""
    if world.count > 1:
        raise InvalidInput(f"method = 'scl' trains in one process, but there are {world.count}")
    if config.data.synthetic:
        raise InvalidInput(
            "data.synthetic: method = 'scl' learns from each crop's neighbours and has no place "
            "for identity labels; use method = 'hhcl'"
        )
    if config.model.pooling != "average":
        raise InvalidInput(
            f"model.pooling = {config.model.pooling!r}: method = 'scl' needs 'average'"
        )
    if config.warmup.epochs:
        raise InvalidInput(
            f"warmup.epochs = {config.warmup.epochs}: method = 'scl' has its own warm-up, "
            "selective.warmup_epochs"
        )
    if config.schedule.average:
        raise InvalidInput(
            f"schedule.average = {config.schedule.average}: method = 'scl' compares crops with the "
            "features that the learning network wrote into its banks; only 'hhcl' has an average"
        )
    if config.model.precision == "bfloat16":
        raise InvalidInput("model.precision = 'bfloat16': method = 'scl' computes in float32")
    if config.model.compile:
        raise InvalidInput("model.compile: batches of method = 'scl' are too small to gain by it")


def _start(
    config: TrainConfig,
    crops: Crops,
    saved: Checkpoint | None,
    device: torch.device,
    output: Path,
) -> tuple[RunState[PartNetwork], SelectiveContrast]:
    rng = seed_epoch(config.seed, 0)  # epochs count from 1, so 0 is free for the start
    pixels = crops.images.pixels
    start = start_network(config, pixels, resumed=saved is not None, keep=output)
    network = cast("PartNetwork", start.to(device))
    optimiser = build_optimiser(network, config.schedule, device)
    state = RunState.begin(network, optimiser, config, saved)
    if saved:
        banks = Banks(**{name: bank.to(device) for name, bank in saved.banks.items()})
    else:
        banks = Banks.fill(describe_all(network, crops, config, rng))
    cameras, sites = (torch.from_numpy(of).to(device) for of in (crops.cameras, crops.sites))
    return state, SelectiveContrast(banks, cameras, sites, config.selective)


@torch.no_grad()
def describe_all(
    network: PartNetwork, crops: Crops, config: TrainConfig, rng: np.random.Generator
) -> Features:
    """Describe all crops before the first epoch in one shuffled, augmented pass, as released.

    The network is in training mode: features depend on the statistics of their batch, and the
    running statistics move towards the crops.

    Args:
        network: on its device.
        crops: the run's N crops.
        config: the run's config.
        rng: source of every random choice.

    Returns:
        The features; row i belongs to crop i.
    """
    network.train()
    count, sizes = len(crops.cameras), config.selective
    device = next(network.parameters()).device
    whole = torch.empty(count, sizes.global_size, device=device)
    stripes = torch.empty(count, sizes.stripes, sizes.local_size, device=device)
    batches = shuffled_batches(count, sizes.batch, rng)
    for indices in tqdm(batches, desc="fill the banks", unit="batch", leave=False):
        images = augment(crops.pixels.take(indices), config.augment, rng, crops.donors(indices))
        whole[indices], stripes[indices] = network.describe(images)
    return Features(whole, stripes)


def train_one_epoch(
    state: RunState[PartNetwork],
    contrast: SelectiveContrast,
    crops: Crops,
    config: TrainConfig,
    epoch: int,
) -> float:
    """Train on every crop once, or on ``schedule.iterations`` batches.

    Args:
        state: its network is left in training mode.
        contrast: the banks, and what a batch is contrasted with.
        crops: the run's N crops.
        config: the run's config.
        epoch: number of the epoch, from 1; the first ones are the warm-up.

    Returns:
        Mean loss.
    """
    rng = seed_epoch(config.seed, epoch)
    state.network.train()
    warm_up = epoch <= config.selective.warmup_epochs
    losses = []
    for indices in _batches(len(crops.cameras), config, epoch, rng):
        images = augment(crops.pixels.take(indices), config.augment, rng, crops.donors(indices))
        order = rng.permutation(len(crops.cameras)) if warm_up else None
        losses.append(train_step(state, contrast, images, indices, order))
    return mean_loss(losses)


def train_step(
    state: RunState[PartNetwork],
    contrast: SelectiveContrast,
    images: Tensor,
    indices: Int64s,
    order: Int64s | None,
) -> Tensor:
    """Take SCL's step on one batch: selection, loss, gradient, optimiser step, bank update.

    Args:
        state: its network in training mode.
        contrast: the banks; the batch is written into them.
        images: (B, 3, H, W) float32, augmented and normalised.
        indices: (B,) int64, which crops they show.
        order: (N,) int64, all crops shuffled, for a step of the warm-up; else None.

    Returns:
        The loss, detached.
    """
    features = state.network.describe(images)
    batch = torch.from_numpy(indices).to(images.device)
    selection = _select(contrast, batch, features, order)
    loss = contrast.loss(features, selection)

    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()

    contrast.update(batch, Features(*map(Tensor.detach, features)), selection)
    return loss.detach()


def _select(
    contrast: SelectiveContrast, batch: Tensor, features: Features, order: Int64s | None
) -> Selection:
    if order is None:
        return contrast.select(batch, features)
    return contrast.select_any(batch, torch.from_numpy(order).to(batch.device))


def _batches(
    count: int, config: TrainConfig, epoch: int, rng: np.random.Generator
) -> Iterator[Int64s]:
    """The batches of an epoch; the crops are shuffled again whenever all have been used."""
    size, wanted = config.selective.batch, config.schedule.iterations
    batches = shuffled_batches(count, size, rng)
    while len(batches) < wanted:
        batches += shuffled_batches(count, size, rng)
    name = f"epoch {epoch}/{config.schedule.epochs}"
    yield from tqdm(batches[: wanted or None], desc=name, unit="batch", leave=False)


def shuffled_batches(count: int, size: int, rng: np.random.Generator) -> list[Int64s]:
    """Shuffle all crops and cut them into batches.

    Args:
        count: number of crops.
        size: crops per batch. The last batch may be smaller, but a single crop left over joins the
            batch before it, because one crop has no batch statistics.
        rng: source of every random choice.

    Returns:
        (size,) int64 indices per batch.
    """
    starts = list(range(size, count, size))
    if starts and count - starts[-1] == 1:
        starts.pop()
    return np.split(rng.permutation(count), starts)
