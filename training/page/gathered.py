"""Gather what a report shows besides the metrics: from the run's record, checkpoint and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from training.core.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from training.core.config import TrainConfig
from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.entries import DataError
from training.data.images import load_images
from training.data.known_pairs import KnownPairs
from training.data.sites import join_sites
from training.hhcl.clustering import cluster, link_progress
from training.measure.held_out import HeldOutEmbeddings, embed_held_out, load_held_out
from training.networks.embedder import TorchEmbedder, open_embedder
from training.page.figure import Missing
from training.page.lists import RankedList, draw_lists
from training.run.epoch_record import EpochRecord, load_epoch, make_record
from training.synthetic.dataset import NOTE

_LISTS = "Ranked lists"


@dataclass(frozen=True, slots=True)
class Clusters:
    """An epoch's clusters and their origin.

    Attributes:
        record: the clusters.
        cameras: name of each camera index; empty if the crops are not available.
        origin: where the clusters come from, as a sentence for people.
    """

    record: EpochRecord
    cameras: list[str]
    origin: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """Parts of a report; a missing part says why it is missing.

    Attributes:
        recipe: the run's config as plain values; None without a checkpoint.
        clusters: of the last epoch.
        lists: ranked lists by data set.
        unlisted: data sets without ranked lists, and why.
    """

    recipe: dict[str, Any] | None
    clusters: Clusters | Missing
    lists: dict[str, list[RankedList]]
    unlisted: list[Missing]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to gather.

    Attributes:
        run: the run's folder.
        data: folders of crops; None looks where the run found them.
        show_crops: also show pictures of real people.
        device: where the network runs.
    """

    run: Path
    data: list[Path] | None
    show_crops: bool
    device: torch.device


def gather(wanted: Wanted) -> Gathered:
    """Read the record, the checkpoint, and the crops if they are available.

    Args:
        wanted: what to gather.

    Returns:
        The parts that are available.

    Raises:
        InvalidInput: a file is damaged, or a folder given in ``wanted.data`` cannot be read.
    """
    if not (wanted.run / FILE_NAME).exists():
        record = load_epoch(wanted.run)
        reason = f"the run has no {FILE_NAME}"
        clusters = _from_record(record, []) if record else Missing("Clusters", reason)
        return Gathered(None, clusters, {}, [Missing(_LISTS, reason)])
    checkpoint = load_checkpoint(wanted.run)
    datasets = _find_datasets(wanted, checkpoint.config)
    lists = _lists(wanted, datasets)
    return Gathered(
        recipe=checkpoint.config.as_dict(),
        clusters=_clusters(wanted, checkpoint, datasets),
        lists={name: found for name, found in lists.items() if not isinstance(found, Missing)},
        unlisted=[found for found in lists.values() if isinstance(found, Missing)],
    )


def is_drawn(folder: Path) -> bool:
    """Whether a data set shows only drawn people: ``synthesize`` leaves a note in it."""
    return (folder / NOTE).is_file()


def _find_datasets(wanted: Wanted, config: TrainConfig) -> list[Dataset] | Missing:
    """The run's data sets, in its order; crops that cannot be used are left out."""
    data = config.data
    paths = wanted.data or [Path(path) for path in (data.path, *data.also) if path]
    sources = [
        DataSource(path, layout=data.layout, pattern=data.pattern, skip_bad=True) for path in paths
    ]
    if not wanted.data:
        sources += [
            DataSource(Path(path), skip_bad=True, train_only=True) for path in data.synthetic
        ]
    if not sources:
        return Missing("", "the run does not say where its crops are; give them with --data")
    try:
        return [read_dataset(source) for source in sources]
    except DataError as error:
        if wanted.data:
            raise
        reason = "its crops are not where the run found them; give them with --data"
        return Missing("", f"{reason} ({error})")


def _from_record(record: EpochRecord, cameras: list[str]) -> Clusters:
    return Clusters(record, cameras, "The clusters that the last epoch was trained on.")


def _clusters(
    wanted: Wanted, checkpoint: Checkpoint, datasets: list[Dataset] | Missing
) -> Clusters | Missing:
    record = load_epoch(wanted.run)
    names = [] if isinstance(datasets, Missing) else _camera_names(datasets)
    if record:
        return _from_record(record, names)
    if isinstance(datasets, Missing):
        return Missing(
            "Clusters", f"the run kept no record of its last epoch, and {datasets.reason}"
        )
    origin = "The run kept no record of its last epoch; these clusters come from its final network."
    return Clusters(_remake(wanted, checkpoint, datasets), names, origin)


def _camera_names(datasets: Sequence[Dataset]) -> list[str]:
    if len(datasets) == 1:
        return list(datasets[0].cameras)
    return [f"{camera} of {dataset.name}" for dataset in datasets for camera in dataset.cameras]


def _remake(wanted: Wanted, checkpoint: Checkpoint, datasets: list[Dataset]) -> EpochRecord:
    config = checkpoint.config
    samples, site_of_camera = join_sites(datasets)
    crops = load_images(samples, config.model.height, config.model.width, skip_bad=True)
    embeddings = _open_run(wanted).embed(crops.pixels)
    cameras = np.array([sample.camera for sample in crops.samples])
    progress = link_progress(checkpoint.epoch - 1, config.clustering, config.schedule.epochs)
    options, sites = config.clustering, site_of_camera[cameras]
    known = KnownPairs.of(crops.samples, sites, tracks=options.tracks, frames=options.frames)
    labels = cluster(embeddings, cameras, options, tqdm.write, progress, known)
    return make_record(embeddings, labels, crops.samples, config.seed)


def _open_run(wanted: Wanted) -> TorchEmbedder:
    embedder = open_embedder(wanted.run, wanted.device)
    assert isinstance(embedder, TorchEmbedder)
    return embedder


def _lists(
    wanted: Wanted, datasets: list[Dataset] | Missing
) -> dict[str, list[RankedList] | Missing]:
    """Ranked lists by data set; a single entry without a name if there are none."""
    if isinstance(datasets, Missing):
        return {"": Missing(_LISTS, datasets.reason)}
    shown = [d for d in datasets if wanted.show_crops or is_drawn(d.source.path)]
    if not shown:
        reason = "they would show real people; --show-crops shows them"
        return {"": Missing(_LISTS, reason)}
    searchable = [dataset for dataset in shown if dataset.query and dataset.gallery]
    if not searchable:
        return {"": Missing(_LISTS, "the data has no query and gallery")}
    embedder = _open_run(wanted)
    return {dataset.name: _lists_of(dataset, embedder) for dataset in searchable}


def _lists_of(dataset: Dataset, embedder: TorchEmbedder) -> list[RankedList] | Missing:
    title = f"{_LISTS} of {dataset.name}"
    try:
        found = draw_lists(_embed(dataset, embedder))
    except DataError as error:
        return Missing(title, str(error))
    return found or Missing(title, "no query has a match from another camera in the gallery")


def _embed(dataset: Dataset, embedder: TorchEmbedder) -> HeldOutEmbeddings:
    return embed_held_out(embedder, load_held_out(dataset, embedder))
