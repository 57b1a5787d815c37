"""HHCL's training loop (Hu, Zhu, He 2021), as in the paper's algorithm.

::

    for each epoch
        embed all crops with the network                            embed_together
        cluster the embeddings into pseudo-labels                   _label
        initialise the memory from the clusters                     build_memory
        for each P x K batch                                        _batches
            compute the loss of its embeddings against the memory   train_step
            take a gradient step on the network
            move the memory towards the batch

Synthetic people need no clustering: their identities are free, and are labels as they are. Only to
measure how far labels would take a recipe, true identities can replace the clusters of real people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.checkpoint import FILE_NAME, Checkpoint
from training.core.config import TrainConfig
from training.core.distributed import World, open_world
from training.core.engine import Batch, Learner, build_learner, embed_together
from training.core.options import AugmentOptions
from training.core.precision import passes_in
from training.core.transforms import apply_choices, draw_choices
from training.core.warmup import warm_up_together
from training.data.datasets import UNKNOWN
from training.hhcl.clustering import cluster, link_progress
from training.hhcl.epoch_crops import gather_crops
from training.hhcl.labelling import crops_to_embed, join_labels
from training.hhcl.memories.building import build_memory
from training.hhcl.memories.memory import Memory
from training.hhcl.packages import require_packages
from training.hhcl.sampler import mixed_batches, require_clusters
from training.networks.building import Network
from training.networks.exported import start_network
from training.run.clusters import Clusters, describe_clusters
from training.run.epoch_end import end_epochs
from training.run.epoch_record import keep_record
from training.run.measuring import measure_epoch
from training.run.setup import Crops, read_crops, saved_checkpoint, seed_epoch
from training.run.state import RunState, mean_loss
from training.run.true_identities import admit_labels, reveal_identities

Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


def run(
    config: TrainConfig,
    output: Path,
    device: torch.device,
    *,
    resume: bool = False,
    true_identities: bool = False,
) -> Path:
    """Train to the last epoch, in one process or in those that ``torchrun`` started.

    Args:
        config: the run's config.
        output: the run's folder: checkpoint, metrics, TensorBoard logs.
        device: where the network runs.
        resume: continue the run in the folder.
        true_identities: take the true identities of unlabelled crops as their clusters. Checkpoint,
            manifest and card then say that the network learned from labels of real people.

    Returns:
        The checkpoint of the last epoch.

    Raises:
        InvalidInput: data, weights or the folder do not allow the run; the message says why.
    """
    with open_world(device) as world:
        saved, crops, learner, state = _begin(
            config, output, world, resume=resume, revealed=true_identities
        )
        network = state.result
        tested = (*crops.judged, crops.held_out, config, world.device)
        measure = partial(measure_epoch, network, *tested)
        with end_epochs(output, config, saved, measure, world) as end:
            del saved  # it takes as much memory as the network and its optimiser
            for epoch in range(state.finished, config.schedule.epochs):
                rng = seed_epoch(config.seed, epoch)
                embedded = crops_to_embed(crops.identities, config.memory.first_crops, rng)
                embeddings = embed_together(network, crops.pixels, world, embedded, learner.kind)
                labels = world.from_first(_label, embeddings, crops, config, epoch, world.count)
                members = gather_crops(embeddings, embedded, labels, crops, config, world)
                memory = build_memory(members, config.memory, config.batch.crops, rng, world.device)
                batches = _batches(crops, labels, config, epoch, rng, world)
                loss = train_one_epoch(learner, memory, batches, config.augment, rng)
                clusters = _describe(embeddings, labels, crops) if world.first else None
                finished = state.finish_epoch(epoch + 1, loss, config, clusters=clusters)
                if end is not None:
                    end.keep(finished)
                    samples = [crops.images.samples[crop] for crop in embedded]
                    keep_record(output, embeddings, labels[embedded], samples, config, end.tell)
    return output / FILE_NAME


def _begin(
    config: TrainConfig, output: Path, world: World, *, resume: bool, revealed: bool
) -> tuple[Checkpoint | None, Crops, Learner, RunState[Network]]:
    """Read crops and start weights and warm up, or continue a checkpoint."""
    with world.together():
        saved = _prepare(config, output, world, resume=resume)
        crops = read_crops(config, output, world)
        learner, state = _start(config, saved, crops, world, output)
        if revealed:
            crops, state = reveal_identities(crops), admit_labels(state, saved, output)
        _tell_batches(config, crops, world)
    if state.finished == 0 and config.warmup.epochs:
        warm_up_together(learner.network, crops.pixels, config, world)
        learner.restart_average()
    return saved, crops, learner, state


def _prepare(config: TrainConfig, output: Path, world: World, *, resume: bool) -> Checkpoint | None:
    """Create the run's folder, or read the checkpoint that it holds."""
    require_packages(config.clustering)
    if config.batch.clusters < world.count:
        raise InvalidInput(
            f"batch.clusters = {config.batch.clusters} for {world.count} processes: "
            "each process needs at least one cluster of every batch"
        )
    if config.schedule.iterations == 0:
        raise InvalidInput(
            "schedule.iterations = 0: method = 'hhcl' has no number of batches of its own; it must "
            "be at least 1"
        )
    if config.data.path and config.data.synthetic and config.batch.clusters == 1:
        raise InvalidInput(
            "batch.clusters = 1: unlabelled and synthetic crops in one batch need at least 2"
        )
    output.mkdir(parents=True, exist_ok=True)
    return saved_checkpoint(config, output, resume=resume)


def _start(
    config: TrainConfig, saved: Checkpoint | None, crops: Crops, world: World, output: Path
) -> tuple[Learner, RunState[Network]]:
    torch.manual_seed(config.seed)
    keep = output if world.first else None
    network = start_network(config, crops.images.pixels, resumed=saved is not None, keep=keep)
    network.to(world.device)
    learner = build_learner(
        network,
        config.schedule,
        world,
        compiled=config.model.compile,
        precision=config.model.precision,
    )
    return learner, RunState.begin(network, learner.optimiser, config, saved, learner.average)


def _tell_batches(config: TrainConfig, crops: Crops, world: World) -> None:
    batch = config.batch
    if len(np.unique(crops.cameras)) == 1:
        tqdm.write("one camera only: companions come from the rest of a cluster")
    known = crops.known_pairs(config.clustering)
    if known.has_more_than_sites:
        tqdm.write(known.line())
    if world.count == 1:
        return
    shares = world.sizes(batch.clusters * batch.crops, batch.crops)
    tqdm.write(f"{world.count} processes share a batch: {', '.join(map(str, shares))} crops")
    if any(size % batch.ghost_group for size in shares):
        tqdm.write(
            f"a process's share is not a multiple of batch.ghost_group = {batch.ghost_group}: "
            "batch statistics differ from those of one process"
        )


def _label(
    embeddings: Float32s, crops: Crops, config: TrainConfig, epoch: int, processes: int
) -> Int64s:
    """An epoch's labels: pseudo-labels of unlabelled crops, and the synthetic identities."""
    unlabelled = np.flatnonzero(crops.identities == UNKNOWN)
    pseudo_labels = unlabelled  # none, if all crops are of synthetic people
    if crops.revealed is not None:
        pseudo_labels = crops.revealed
    elif len(unlabelled):
        pseudo_labels = cluster(
            embeddings[: len(unlabelled)],
            crops.cameras[unlabelled],
            config.clustering,
            tqdm.write,
            link_progress(epoch, config.clustering, config.schedule.epochs),
            crops.known_pairs(config.clustering),
        )
    found = int(pseudo_labels.max(initial=-1)) + 1, int(crops.identities.max()) + 1
    require_clusters(found, config.batch, processes, tqdm.write)
    return join_labels(pseudo_labels, crops.identities)


def _describe(embeddings: Float32s, labels: Int64s, crops: Crops) -> Clusters:
    """Describe the labels of the unlabelled crops, or of all if all people are synthetic."""
    shown = crops.judged[0].samples
    if not (crops.identities == UNKNOWN).any():
        return describe_clusters(labels, shown, compared=False)
    # Unlabelled crops are embedded first, and all of them.
    return describe_clusters(labels[: len(shown)], shown, embeddings[: len(shown)])


def _batches(
    crops: Crops,
    labels: Int64s,
    config: TrainConfig,
    epoch: int,
    rng: np.random.Generator,
    world: World,
) -> Iterator[Batch]:
    """This process's part of each P x K batch of an epoch."""
    synthetic, iterations = crops.identities != UNKNOWN, config.schedule.iterations
    indices = mixed_batches(labels, crops.cameras, synthetic, config.batch, iterations, rng)
    name = f"epoch {epoch + 1}/{config.schedule.epochs}"
    for index in tqdm(indices, desc=name, total=iterations, unit="batch", leave=False):
        own = index[world.share(len(index), config.batch.crops)]
        pixels = crops.pixels.take(own)
        cameras, donors = crops.cameras[index], crops.donors(index)
        yield Batch(pixels, labels[index], cameras, config.batch.crops, donors)


def train_one_epoch(
    learner: Learner,
    memory: Memory,
    batches: Iterable[Batch],
    options: AugmentOptions,
    rng: np.random.Generator,
) -> float:
    """Train on every batch once.

    Args:
        learner: its network is left in training mode.
        memory: the clusters to contrast with.
        batches: at least one.
        options: augmentation.
        rng: source of every random choice.

    Returns:
        Mean loss.
    """
    learner.network.train()
    loss = mean_loss(train_step(learner, memory, batch, options, rng) for batch in batches)
    learner.share_buffers()
    return loss


def train_step(
    learner: Learner,
    memory: Memory,
    batch: Batch,
    options: AugmentOptions,
    rng: np.random.Generator,
) -> Tensor:
    """Take HHCL's step on one batch: loss, gradient, optimiser step, memory update.

    Processes share only the forward pass: each one then has the embeddings of the whole batch and
    computes the whole loss, so that every process makes the same memory update.

    Args:
        learner: its network in training mode.
        memory: the clusters to contrast with; moved towards the batch.
        batch: P x K crops.
        options: augmentation.
        rng: source of every random choice.

    Returns:
        The loss, detached.
    """
    world, device = learner.world, learner.world.device
    labels = torch.from_numpy(batch.labels).to(device)
    cameras = torch.from_numpy(batch.cameras).to(device)

    embeddings = _embed(learner, batch, options, rng)
    loss = memory.loss(embeddings, labels, cameras)

    learner.optimiser.zero_grad(set_to_none=True)
    # Each process has the gradient of its own crops only, and the processes take the mean.
    (loss * world.count).backward()
    learner.step()

    # The update uses the embeddings of the forward pass, as the released code does.
    memory.update(embeddings.detach(), labels)
    return loss.detach()


def _embed(
    learner: Learner, batch: Batch, options: AugmentOptions, rng: np.random.Generator
) -> Tensor:
    """(B, D) float32 embeddings of the whole augmented batch."""
    world, count = learner.world, len(batch.labels)
    _, height, width, _ = batch.pixels.shape
    choices = draw_choices(count, (height, width), options, rng, batch.donors)
    own = world.share(count, batch.crops_per_cluster)
    images = apply_choices(batch.pixels, choices.part(own))
    with passes_in(learner.kind, world.device):
        embeddings = learner.forward(images)
    return world.gather(embeddings, count, batch.crops_per_cluster)
