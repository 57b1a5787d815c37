"""The outer loop of SCL (Pang et al. 2022): fill the banks, then select, contrast and write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.checkpoint import FILE_NAME, Checkpoint, new_network
from training.core.config import TrainConfig
from training.core.distributed import World, open_world
from training.core.engine import build_optimiser
from training.core.options import SelectiveOptions
from training.core.part_network import Features, PartNetwork, camera_distances, part_distances
from training.core.transforms import augment
from training.measure.evaluation import PROTOCOLS, Protocol, Scores, score
from training.run.best_epoch import tell_selection
from training.run.epoch_end import EpochEnd
from training.run.log import EpochMetrics, RunLog
from training.run.measuring import HeldOut, Measured, embed_test, measure_epoch
from training.run.optional import Once
from training.run.setup import Crops, is_measured, read_crops, saved_checkpoint, seed_epoch
from training.scl.banks import Banks, SelectiveMemory

Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


def run(config: TrainConfig, output: Path, device: torch.device, *, resume: bool = False) -> Path:
    """Train from the first or the next unfinished epoch to the last, in one process.

    Args:
        config: everything about the run.
        output: the run's folder: checkpoint with the banks, metrics, TensorBoard logs.
        device: where the network runs and the banks lie.
        resume: continue what the folder holds.

    Returns:
        The checkpoint of the last epoch.

    Raises:
        InvalidInput: data, weights or the folder do not allow the run; the message says why.
    """
    epochs = config.schedule.epochs
    with open_world(device) as world:
        _check(config, world)
        output.mkdir(parents=True, exist_ok=True)
        saved = saved_checkpoint(config, output, resume=resume)
        crops = read_crops(config, output, world)
        state = _start(config, crops, saved, device)
        tell = Once(tqdm.write)
        with RunLog(output, state.finished, epochs, tell) as log:
            measure = partial(_measure, state.network, crops, config, device)
            end = EpochEnd(output, log, measure, tell)
            if saved:
                end.catch_up(saved)
            for epoch in range(state.finished + 1, epochs + 1):
                rate = state.scheduler.get_last_lr()[0]
                loss = train_one_epoch(state, crops, config, epoch)
                state.scheduler.step()
                line = EpochMetrics(epoch, loss, float(rate), clusters=None)
                end.keep(state.checkpoint(line, config))
        tell_selection(output, config, tqdm.write)
    return output / FILE_NAME


@dataclass(frozen=True, slots=True)
class _State:
    finished: int
    network: PartNetwork
    memory: SelectiveMemory
    optimiser: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.StepLR

    def checkpoint(self, line: EpochMetrics, config: TrainConfig) -> Checkpoint:
        return Checkpoint(
            epoch=line.epoch,
            config=config,
            network=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            scheduler=self.scheduler.state_dict(),
            banks=self.memory.banks._asdict(),
            line=asdict(line),
        )


def _check(config: TrainConfig, world: World) -> None:
    """Refuse what belongs to the other method: silently left out, it would mislead."""
    if world.count > 1:
        raise InvalidInput(f"method = 'scl' trains in one process, this one is of {world.count}")
    if config.model.pooling != "average":
        raise InvalidInput(
            f"model.pooling = {config.model.pooling!r}: method = 'scl' has 'average'"
        )
    if config.warmup.epochs:
        raise InvalidInput(
            f"warmup.epochs = {config.warmup.epochs}: method = 'scl' warms up by its own "
            "selective.warmup_epochs"
        )
    if config.model.compile:
        raise InvalidInput("model.compile: batches of method = 'scl' are too small to gain by it")


def _start(
    config: TrainConfig, crops: Crops, saved: Checkpoint | None, device: torch.device
) -> _State:
    rng = seed_epoch(config.seed, 0)  # epochs count from 1: 0 is what comes before
    start_weights = "none" if saved else None
    network = cast("PartNetwork", new_network(config, weights=start_weights).to(device))
    schedule = config.schedule
    optimiser = build_optimiser(network, schedule, device)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, schedule.step, schedule.decay)
    if saved:
        network.load_state_dict(saved.network)
        optimiser.load_state_dict(saved.optimiser)
        scheduler.load_state_dict(saved.scheduler)
        banks = Banks(**{name: bank.to(device) for name, bank in saved.banks.items()})
    else:
        banks = Banks.fill(describe_all(network, crops, config, rng))
    cameras, sites = (torch.from_numpy(of).to(device) for of in (crops.cameras, crops.sites))
    memory = SelectiveMemory(banks, cameras, sites, config.selective)
    return _State(saved.epoch if saved else 0, network, memory, optimiser, scheduler)


@torch.no_grad()
def describe_all(
    network: PartNetwork, crops: Crops, config: TrainConfig, rng: np.random.Generator
) -> Features:
    """Features of all crops before the first epoch, as released: one shuffled, augmented pass.

    The network is in training mode: features follow their batch's statistics, and the running ones
    move towards the crops.

    Args:
        network: on its device.
        crops: N of them.
        config: of the run.
        rng: source of every choice.

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
        images = augment(crops.pixels.take(indices), config.augment, rng)
        whole[indices], stripes[indices] = network.describe(images)
    return Features(whole, stripes)


def train_one_epoch(state: _State, crops: Crops, config: TrainConfig, epoch: int) -> float:
    """Learn from every crop once, or from ``schedule.iterations`` batches.

    Args:
        state: network in training mode after it, banks and optimiser moved on.
        crops: N of them.
        config: of the run.
        epoch: from 1; the first ones are the warm-up.

    Returns:
        Mean loss.
    """
    rng = seed_epoch(config.seed, epoch)
    network, memory, optimiser = state.network.train(), state.memory, state.optimiser
    device = next(network.parameters()).device
    losses = []
    for indices in _batches(len(crops.cameras), config, epoch, rng):
        features = network.describe(augment(crops.pixels.take(indices), config.augment, rng))
        batch = torch.from_numpy(indices).to(device)
        if epoch <= config.selective.warmup_epochs:
            order = torch.from_numpy(rng.permutation(len(crops.cameras))).to(device)
            selection = memory.select_any(batch, order)
        else:
            selection = memory.select(batch, features)
        loss = memory.loss(features, selection)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        memory.update(batch, Features(*map(Tensor.detach, features)), selection)
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _batches(
    count: int, config: TrainConfig, epoch: int, rng: np.random.Generator
) -> Iterator[Int64s]:
    size, wanted = config.selective.batch, config.schedule.iterations
    batches = shuffled_batches(count, size, rng)
    while len(batches) < wanted:
        batches += shuffled_batches(count, size, rng)
    name = f"epoch {epoch}/{config.schedule.epochs}"
    yield from tqdm(batches[: wanted or None], desc=name, unit="batch", leave=False)


def shuffled_batches(count: int, size: int, rng: np.random.Generator) -> list[Int64s]:
    """Every crop once, plainly shuffled.

    Args:
        count: crops.
        size: of a batch; the last one may be smaller, but a lone crop, which has no batch
            statistics, joins the batch before it.
        rng: source of every choice.

    Returns:
        (size,) int64 indices a batch.
    """
    starts = list(range(size, count, size))
    if starts and count - starts[-1] == 1:
        starts.pop()
    return np.split(rng.permutation(count), starts)


def _measure(
    network: PartNetwork, crops: Crops, config: TrainConfig, device: torch.device, epoch: int
) -> Measured:
    """The embedding's inner product as every run has it, and SCL's own test distance."""
    if not is_measured(epoch, config.schedule.epochs, config.evaluation):
        return Measured()
    measured = measure_epoch(network, crops.images, crops.sites, crops.held_out, config, device)
    for test in crops.held_out:
        prefix = f"{test.name} " if len(crops.held_out) > 1 else ""
        _measure_parts(measured, prefix, network, test, config.selective)
    return measured


def _measure_parts(
    measured: Measured, prefix: str, network: PartNetwork, test: HeldOut, options: SelectiveOptions
) -> None:
    compare = partial(_part_distances, network, test, options)
    forms = ("parts", "parts+camera")
    distances = measured.attempt(test, compare) or (None, None)
    for form, distance in zip(forms, distances, strict=True):
        for protocol in PROTOCOLS:
            scores = None
            if distance is not None:
                rate = partial(_score, test, distance, protocol)
                scores = measured.attempt(test, rate)
            measured.put(f"{prefix}{protocol} {form}", scores)


def _part_distances(
    network: PartNetwork, test: HeldOut, options: SelectiveOptions
) -> tuple[Float32s, Float32s]:
    """(Q, G) distances between query and gallery, without and with the camera term."""
    samples = test.query.samples, test.gallery.samples
    query, gallery = embed_test(network, test, next(network.parameters()).device)
    of_query, of_gallery = (np.array([sample.camera for sample in each]) for each in samples)
    parts = part_distances(query, gallery, options)
    same_camera = camera_distances(of_query, of_gallery, options.camera_weight)
    return parts, parts + same_camera


def _score(test: HeldOut, distance: Float32s, protocol: Protocol) -> Scores:
    return score(distance, test.query.samples, test.gallery.samples, protocol=protocol)
