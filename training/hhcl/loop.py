"""The outer loop of HHCL (Hu, Zhu, He 2021): extract, cluster, remember, learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.checkpoint import FILE_NAME, Checkpoint, Network, new_network
from training.core.config import TrainConfig
from training.core.distributed import World, open_world
from training.core.engine import (
    Batch,
    Learner,
    build_learner,
    embed_together,
)
from training.core.options import AugmentOptions
from training.core.transforms import apply_choices, draw_choices
from training.core.warmup import warm_up_together
from training.hhcl.clustering import cluster
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.memory import Memory
from training.hhcl.sampler import identity_batches
from training.run.best_epoch import tell_selection
from training.run.epoch_end import EpochEnd
from training.run.epoch_record import RECORD_NAME, save_epoch
from training.run.log import EpochMetrics, RunLog, describe_clusters
from training.run.measuring import Measured, measure_epoch
from training.run.optional import UNWRITABLE, Once, Tell, attempt
from training.run.setup import Crops, is_measured, read_crops, saved_checkpoint, seed_epoch


def run(config: TrainConfig, output: Path, device: torch.device, *, resume: bool = False) -> Path:
    """Train from the first or the next unfinished epoch to the last, alone or under ``torchrun``.

    Args:
        config: everything about the run.
        output: the run's folder: checkpoint, metrics, TensorBoard logs.
        device: where the network runs.
        resume: continue what the folder holds.

    Returns:
        The checkpoint of the last epoch.

    Raises:
        InvalidInput: data, weights or the folder do not allow the run; the message says why.
    """
    epochs = config.schedule.epochs
    with open_world(device) as world:
        with world.together():
            saved = _prepare(config, output, world, resume=resume)
            state = _start(config, saved, world)
            crops = read_crops(config, output, world)
            _tell_batches(config, crops, world)
        if state.finished == 0 and config.warmup.epochs:
            warm_up_together(state.network, crops.pixels, config, world)
        tell = Once(tqdm.write)
        with RunLog(output, state.finished, epochs, tell) if world.first else nullcontext() as log:
            # The first process measures and writes for all.
            measure = partial(_measure, state, crops, config)
            end = EpochEnd(output, log, measure, tell) if log else None
            if end and saved:
                end.catch_up(saved)
            del saved  # it is as large as the network and its optimiser
            for epoch in range(state.finished, epochs):
                rng = seed_epoch(config.seed, epoch)
                embeddings = embed_together(state.network, crops.pixels, world)
                labels = world.from_first(_label, embeddings, crops, config, epoch, world.count)
                memory = _remember(embeddings, labels, crops, config, rng, world.device)
                batches = _batches(crops, labels, config, epoch, rng, world)
                loss = train_one_epoch(state.learner, memory, batches, config.augment, rng)
                rate = state.learning_rate
                state.scheduler.step()
                if end is None:
                    continue
                clusters = describe_clusters(labels, crops.images.samples)
                line = EpochMetrics(epoch + 1, loss, rate, clusters)
                end.keep(state.checkpoint(line, config))
                _record(output, embeddings, labels, crops, config, tell)
        if world.first:
            tell_selection(output, config, tqdm.write)
    return output / FILE_NAME


@dataclass(frozen=True, slots=True)
class _State:
    finished: int
    network: Network
    learner: Learner
    scheduler: torch.optim.lr_scheduler.StepLR

    @property
    def learning_rate(self) -> float:
        return float(self.scheduler.get_last_lr()[0])

    def checkpoint(self, line: EpochMetrics, config: TrainConfig) -> Checkpoint:
        return Checkpoint(
            epoch=line.epoch,
            config=config,
            network=self.network.state_dict(),
            optimiser=self.learner.optimiser.state_dict(),
            scheduler=self.scheduler.state_dict(),
            line=asdict(line),
        )


def _prepare(config: TrainConfig, output: Path, world: World, *, resume: bool) -> Checkpoint | None:
    """The run's folder, and what it holds already."""
    if config.batch.clusters < world.count:
        raise InvalidInput(
            f"batch.clusters = {config.batch.clusters} for {world.count} processes: "
            "each needs a cluster of every batch"
        )
    output.mkdir(parents=True, exist_ok=True)
    return saved_checkpoint(config, output, resume=resume)


def _start(config: TrainConfig, saved: Checkpoint | None, world: World) -> _State:
    torch.manual_seed(config.seed)
    network = new_network(config, weights="none" if saved else None).to(world.device)
    if saved:
        network.load_state_dict(saved.network)
    schedule = config.schedule
    learner = build_learner(network, schedule, world, compiled=config.model.compile)
    scheduler = torch.optim.lr_scheduler.StepLR(learner.optimiser, schedule.step, schedule.decay)
    if saved:
        learner.optimiser.load_state_dict(saved.optimiser)
        scheduler.load_state_dict(saved.scheduler)
    return _State(saved.epoch if saved else 0, network, learner, scheduler)


def _tell_batches(config: TrainConfig, crops: Crops, world: World) -> None:
    batch = config.batch
    if len(np.unique(crops.cameras)) == 1:
        tqdm.write("one camera only: companions come from the rest of a cluster")
    if world.count == 1:
        return
    shares = world.sizes(batch.clusters * batch.crops, batch.crops)
    tqdm.write(f"{world.count} processes share a batch: {', '.join(map(str, shares))} crops")
    if any(size % batch.ghost_group for size in shares):
        tqdm.write(
            f"a share is no multiple of batch.ghost_group = {batch.ghost_group}: "
            "batch statistics differ from those of one process"
        )


def _label(
    embeddings: NDArray[np.float32], crops: Crops, config: TrainConfig, epoch: int, processes: int
) -> NDArray[np.int64]:
    progress = epoch / config.schedule.epochs
    options = config.clustering
    labels = cluster(embeddings, crops.cameras, options, tqdm.write, progress, crops.sites)
    clusters, wanted = int(labels.max()) + 1, config.batch.clusters
    if clusters < processes:
        raise InvalidInput(f"{clusters} clusters cannot be shared by {processes} processes")
    if clusters < wanted:
        tqdm.write(f"{clusters} clusters, fewer than batch.clusters = {wanted}: a batch holds all")
    return labels


def _remember(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    crops: Crops,
    config: TrainConfig,
    rng: np.random.Generator,
    device: torch.device,
) -> Memory:
    clustered = ClusteredCrops(embeddings, labels, crops.cameras)
    return build_memory(clustered, config.memory, config.batch.crops, rng, device)


def _batches(
    crops: Crops,
    labels: NDArray[np.int64],
    config: TrainConfig,
    epoch: int,
    rng: np.random.Generator,
    world: World,
) -> Iterator[Batch]:
    indices = identity_batches(
        labels,
        crops.cameras,
        clusters_per_batch=config.batch.clusters,
        crops_per_cluster=config.batch.crops,
        iterations=config.schedule.iterations,
        rng=rng,
    )
    name = f"epoch {epoch + 1}/{config.schedule.epochs}"
    total = config.schedule.iterations
    for index in tqdm(indices, desc=name, total=total, unit="batch", leave=False):
        own = index[world.share(len(index), config.batch.crops)]
        pixels = crops.pixels.take(own)
        yield Batch(pixels, labels[index], crops.cameras[index], config.batch.crops)


def train_one_epoch(
    learner: Learner,
    memory: Memory,
    batches: Iterable[Batch],
    options: AugmentOptions,
    rng: np.random.Generator,
) -> float:
    """Learn from every batch once: loss, backward, step, then the memory.

    On CUDA the forward pass runs in bfloat16 where that is safe (AMP); losses stay float32.
    Processes share the forward pass only: each then holds the embeddings of the whole batch and
    computes its whole loss, so that every memory takes the same update.

    Args:
        learner: its network is left in training mode.
        memory: the contrast.
        batches: at least one.
        options: augmentation.
        rng: source of every choice.

    Returns:
        Mean loss.
    """
    learner.network.train()
    losses = [_learn(learner, memory, batch, options, rng) for batch in batches]
    learner.world.share_buffers(learner.network)
    return float(torch.stack(losses).mean())


def _learn(
    learner: Learner,
    memory: Memory,
    batch: Batch,
    options: AugmentOptions,
    rng: np.random.Generator,
) -> Tensor:
    world, device, count = learner.world, learner.world.device, len(batch.labels)
    _, height, width, _ = batch.pixels.shape
    choices = draw_choices(count, (height, width), options, rng)
    own = world.share(count, batch.crops_per_cluster)
    images = apply_choices(batch.pixels, choices.part(own))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        embeddings = learner.forward(images)
    together = world.gather(embeddings, count, batch.crops_per_cluster)
    labels = torch.from_numpy(batch.labels).to(device)
    loss = memory.loss(together, labels, torch.from_numpy(batch.cameras).to(device))
    learner.optimiser.zero_grad(set_to_none=True)
    # A process's gradient is of its own crops' part of the sum; the mean over them is taken next.
    (loss * world.count).backward()
    learner.optimiser.step()
    memory.update(together.detach(), labels)
    return loss.detach()


def _measure(state: _State, crops: Crops, config: TrainConfig, finished: int) -> Measured:
    if not is_measured(finished, config.schedule.epochs, config.evaluation):
        return Measured()
    device = state.learner.world.device
    return measure_epoch(state.network, crops.images, crops.sites, crops.held_out, config, device)


def _record(
    output: Path,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    crops: Crops,
    config: TrainConfig,
    tell: Tell,
) -> None:
    """Keep what the report shows of the last epoch."""
    save = partial(save_epoch, output, embeddings, labels, crops.images.samples, config.seed)
    attempt(f"{RECORD_NAME} cannot be written", save, tell, UNWRITABLE)
