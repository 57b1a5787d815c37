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
from training.layouts import describe_skipped
from training.memory import HybridMemory, centroids, seen_by_cameras
from training.network import EmbeddingNetwork
from training.report import Clusters, EpochMetrics, RunLog, describe_clusters
from training.samplers import identity_batches
from training.sites import join_sites
from training.validation import HeldOut, Measured, load_held_out, measure_epoch


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
    datasets = [read_dataset(source) for source in _sources_of(config)]
    samples, site_of_camera = join_sites(datasets)
    crops = load_images(
        samples, config.model.height, config.model.width, skip_bad=config.data.skip_bad
    )
    cameras = np.array([sample.camera for sample in crops.samples])
    sites = site_of_camera[cameras]
    held_out = load_held_out(datasets, config)
    _tell_data(datasets, crops, held_out)
    with RunLog(output, state.finished, config.schedule.epochs) as log:
        for epoch in range(state.finished, config.schedule.epochs):
            # Each epoch's choices follow from the seed and its number: resuming needs no more.
            rng = np.random.default_rng([config.seed, epoch])
            torch.manual_seed(
                int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0])
            )
            progress = epoch / config.schedule.epochs
            embeddings = extract_embeddings(state.network, crops.pixels, device)
            labels = cluster(embeddings, cameras, config.clustering, tqdm.write, progress, sites)
            _tell_small_batches(labels, config)
            memory = _remember(embeddings, labels, cameras, config, device)
            batches = _batches(crops.pixels, labels, cameras, config, epoch, rng)
            loss = train_one_epoch(
                state.network, memory, state.optimiser, batches, config.augment, rng
            )
            clusters = describe_clusters(labels, crops.samples)
            measured = (
                measure_epoch(state.network, crops, sites, held_out, config, device)
                if _due(epoch, config)
                else Measured()
            )
            log.write(_metrics(epoch + 1, loss, state.learning_rate, clusters, measured))
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


def _sources_of(config: TrainConfig) -> list[DataSource]:
    data = config.data
    return [
        DataSource(Path(path), layout=data.layout, pattern=data.pattern, skip_bad=data.skip_bad)
        for path in (data.path, *data.also)
    ]


def _tell_data(datasets: list[Dataset], crops: Images, held_out: list[HeldOut]) -> None:
    for dataset in datasets:
        tqdm.write(dataset.summary)
    unreadable = [*crops.skipped]
    unreadable += [e for test in held_out for e in (*test.query.skipped, *test.gallery.skipped)]
    for line in describe_skipped([*(e for d in datasets for e in d.skipped), *unreadable]):
        tqdm.write(line)
    if len({sample.camera for sample in crops.samples}) == 1:
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


def _metrics(
    epoch: int, loss: float, learning_rate: float, clusters: Clusters, measured: Measured
) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        loss=loss,
        learning_rate=learning_rate,
        clusters=clusters,
        agreement=measured.agreement,
        map=measured.map,
        rank1=measured.rank1,
    )
