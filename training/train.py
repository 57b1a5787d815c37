"""The outer loop of HHCL (Hu, Zhu, He 2021): extract, cluster, remember, learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.errors import InvalidInput
from training.checkpoint import (
    FILE_NAME,
    Checkpoint,
    load_checkpoint,
    new_network,
    parameters_of,
    save_checkpoint,
)
from training.clustering import cluster
from training.config import TrainConfig
from training.data import Dataset, DataSource, Images, load_images, read_dataset
from training.engine import Batch, extract_embeddings, train_one_epoch
from training.evaluation import PROTOCOLS, Scores, evaluate
from training.layouts import describe_skipped
from training.memory import HybridMemory, centroids, seen_by_cameras
from training.network import EmbeddingNetwork
from training.report import Clusters, EpochMetrics, RunLog, describe_clusters
from training.samplers import identity_batches


def run(config: TrainConfig, output: Path, device: torch.device, *, resume: bool = False) -> Path:
    """Train from the first or the next unfinished epoch to the last.

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
    state = _start(config, output, device, resume=resume)
    dataset = read_dataset(_source_of(config))
    crops = _load(dataset, "train", config)
    cameras = np.array([sample.camera for sample in crops.samples])
    measured = ("query", "gallery") if config.evaluation.every else ()
    held_out = [_load(dataset, split, config) for split in measured]
    _tell_data(dataset, [crops, *held_out])
    with RunLog(output, state.finished, config.schedule.epochs) as log:
        for epoch in range(state.finished, config.schedule.epochs):
            # Each epoch's choices follow from the seed and its number: resuming needs no more.
            rng = np.random.default_rng([config.seed, epoch])
            progress = epoch / config.schedule.epochs
            embeddings = extract_embeddings(state.network, crops.pixels, device)
            labels = cluster(embeddings, cameras, config.clustering, tqdm.write, progress)
            _tell_small_batches(labels, config)
            memory = _remember(embeddings, labels, cameras, config, device)
            batches = _batches(crops.pixels, labels, cameras, config, epoch, rng)
            loss = train_one_epoch(
                state.network, memory, state.optimiser, batches, config.augment, rng
            )
            clusters = describe_clusters(labels, crops.samples)
            scores = _measure(state.network, held_out, device) if _due(epoch, config) else []
            log.write(_metrics(epoch + 1, loss, state.learning_rate, clusters, scores))
            state.scheduler.step()
            save_checkpoint(output, state.checkpoint(epoch + 1, config))
    return output / FILE_NAME


@dataclass(frozen=True, slots=True)
class _State:
    finished: int
    network: EmbeddingNetwork
    optimiser: torch.optim.Adam
    scheduler: torch.optim.lr_scheduler.StepLR

    @property
    def learning_rate(self) -> float:
        return float(self.scheduler.get_last_lr()[0])

    def checkpoint(self, finished: int, config: TrainConfig) -> Checkpoint:
        return Checkpoint(
            epoch=finished,
            config=config,
            network=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            scheduler=self.scheduler.state_dict(),
        )


def _start(config: TrainConfig, output: Path, device: torch.device, *, resume: bool) -> _State:
    output.mkdir(parents=True, exist_ok=True)
    saved = _saved_state(config, output, resume=resume)
    torch.manual_seed(config.seed)
    network = new_network(config, weights="none" if saved else None).to(device)
    schedule = config.schedule
    optimiser = torch.optim.Adam(
        parameters_of(network), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, schedule.step, schedule.decay)
    if saved:
        network.load_state_dict(saved.network)
        optimiser.load_state_dict(saved.optimiser)
        scheduler.load_state_dict(saved.scheduler)
    return _State(saved.epoch if saved else 0, network, optimiser, scheduler)


def _saved_state(config: TrainConfig, output: Path, *, resume: bool) -> Checkpoint | None:
    if not (output / FILE_NAME).exists():
        return None
    if not resume:
        raise InvalidInput(f"{output} already holds a run: --resume continues it")
    saved = load_checkpoint(output)
    if saved.config != config:
        old, new = saved.config.as_dict(), config.as_dict()
        changed = [name for name in new if old[name] != new[name]]
        raise InvalidInput(
            f"{output} was started with other options for {', '.join(changed)}; "
            "resume with the same, or choose another --output"
        )
    return saved


def _source_of(config: TrainConfig) -> DataSource:
    data = config.data
    return DataSource(
        Path(data.path), layout=data.layout, pattern=data.pattern, skip_bad=data.skip_bad
    )


def _load(dataset: Dataset, split: str, config: TrainConfig) -> Images:
    return load_images(
        getattr(dataset, split),
        config.model.height,
        config.model.width,
        skip_bad=config.data.skip_bad,
    )


def _tell_data(dataset: Dataset, loaded: list[Images]) -> None:
    tqdm.write(dataset.summary)
    unreadable = [entry for images in loaded for entry in images.skipped]
    for line in describe_skipped([*dataset.skipped, *unreadable]):
        tqdm.write(line)
    if len({sample.camera for sample in loaded[0].samples}) == 1:
        tqdm.write("one camera only: companions come from the rest of a cluster")


def _remember(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    cameras: NDArray[np.int64],
    config: TrainConfig,
    device: torch.device,
) -> HybridMemory:
    match config.memory.negatives:
        case "all":
            seen_by = None
        case "same-camera":
            seen_by = torch.from_numpy(seen_by_cameras(labels, cameras)).to(device)
    return HybridMemory(
        torch.from_numpy(centroids(embeddings, labels)).to(device),
        temperature=config.memory.temperature,
        momentum=config.memory.momentum,
        weighting=config.memory.weighting,
        seen_by=seen_by,
    )


def _tell_small_batches(labels: NDArray[np.int64], config: TrainConfig) -> None:
    clusters, wanted = int(labels.max()) + 1, config.batch.clusters
    if clusters < wanted:
        tqdm.write(f"{clusters} clusters, fewer than batch.clusters = {wanted}: a batch holds all")


def _batches(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    cameras: NDArray[np.int64],
    config: TrainConfig,
    epoch: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    indices = identity_batches(
        labels,
        cameras,
        clusters_per_batch=config.batch.clusters,
        crops_per_cluster=config.batch.crops,
        iterations=config.schedule.iterations,
        rng=rng,
    )
    name = f"epoch {epoch + 1}/{config.schedule.epochs}"
    total = config.schedule.iterations
    for index in tqdm(indices, desc=name, total=total, unit="batch", leave=False):
        yield Batch(pixels[index], labels[index], cameras[index])


def _due(epoch: int, config: TrainConfig) -> bool:
    every, last = config.evaluation.every, epoch + 1 == config.schedule.epochs
    return every > 0 and (last or (epoch + 1) % every == 0)


def _measure(
    network: EmbeddingNetwork, held_out: list[Images], device: torch.device
) -> list[Scores]:
    query, gallery = held_out
    if not query.samples or not gallery.samples:
        return []
    found = [extract_embeddings(network, images.pixels, device) for images in held_out]
    return [
        evaluate(found[0], query.samples, found[1], gallery.samples, protocol=protocol)
        for protocol in PROTOCOLS
    ]


def _metrics(
    epoch: int, loss: float, learning_rate: float, clusters: Clusters, scores: list[Scores]
) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        loss=loss,
        learning_rate=learning_rate,
        clusters=clusters,
        map={score.protocol: score.map for score in scores},
        rank1={score.protocol: score.cmc(1) for score in scores},
    )
