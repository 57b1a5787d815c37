"""Measuring a model on the query and gallery of labelled data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.model.manifest import Accuracy
from training.core.embedder import Embedder
from training.data.layouts import Layout, describe_skipped
from training.data.samples import DataError, Dataset, DataSource, load_images, read_dataset
from training.measure.evaluation import Protocol, evaluate, rank_gallery
from training.measure.pictures import write_ranked_lists

Float32s = NDArray[np.float32]

_PICTURES = 50


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutCrops:
    """Query and gallery of a data set, decoded.

    Attributes:
        dataset: whose query and gallery are exactly the crops that could be read.
        query: (Q, H, W, 3) uint8.
        gallery: (G, H, W, 3) uint8.
    """

    dataset: Dataset
    query: NDArray[np.uint8]
    gallery: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Query and gallery of a data set, embedded: row i belongs to sample i.

    Attributes:
        dataset: its query and gallery.
        query: (Q, D) float32, unit rows.
        gallery: (G, D) float32, unit rows.
    """

    dataset: Dataset
    query: Float32s
    gallery: Float32s


def read_held_out(
    paths: Sequence[Path], *, skip_bad: bool = False, layout: Literal["auto", Layout] = "auto"
) -> list[Dataset]:
    """Find labelled data sets that have a query and a gallery.

    Args:
        paths: folders or manifest files.
        skip_bad: whether files that break a rule are left out instead of an error.
        layout: how names give identity and camera.

    Returns:
        One data set a path.

    Raises:
        DataError: one cannot be read or has no query or gallery, or two have the same name.
    """
    sources = [DataSource(path, layout=layout, skip_bad=skip_bad) for path in paths]
    datasets = [read_dataset(source) for source in sources]
    for dataset in datasets:
        if not dataset.query or not dataset.gallery:
            raise DataError(f"{dataset.summary}: need query and gallery to measure on")
    names = [dataset.name for dataset in datasets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"two data sets are named {twice.pop()}: results could not be told apart")
    return datasets


def load_held_out(dataset: Dataset, embedder: Embedder) -> HeldOutCrops:
    """Decode query and gallery as an embedder takes them; list what was skipped on stderr.

    Args:
        dataset: with both.
        embedder: states size and interpolation.

    Returns:
        The crops.

    Raises:
        DataError: a crop cannot be read, and the data set does not skip such.
    """
    query, gallery = (
        load_images(
            samples,
            embedder.height,
            embedder.width,
            resize=embedder.resize,
            skip_bad=dataset.source.skip_bad,
        )
        for samples in (dataset.query, dataset.gallery)
    )
    for line in describe_skipped([*dataset.skipped, *query.skipped, *gallery.skipped]):
        tqdm.write(line, file=sys.stderr)
    readable = replace(dataset, query=query.samples, gallery=gallery.samples)
    return HeldOutCrops(readable, query.pixels, gallery.pixels)


def embed_held_out(embedder: Embedder, crops: HeldOutCrops) -> HeldOut:
    """Embed query and gallery.

    Args:
        embedder: the model.
        crops: at its size.

    Returns:
        The embeddings.
    """
    return HeldOut(crops.dataset, embedder.embed(crops.query), embedder.embed(crops.gallery))


def measure(
    held_out: HeldOut, protocols: Sequence[Protocol], *, rerank: bool = False
) -> list[Accuracy]:
    """Measure mAP (finite sum) and CMC.

    Args:
        held_out: embedded query and gallery.
        protocols: a line each.
        rerank: whether each gets a second line, after k-reciprocal re-ranking.

    Returns:
        The lines.

    Raises:
        DataError: the data set cannot be evaluated under a protocol.
    """
    data = held_out.dataset
    return [
        evaluate(
            held_out.query,
            data.query,
            held_out.gallery,
            data.gallery,
            protocol=protocol,
            rerank=reranked,
        ).accuracy(data.name)
        for reranked in (False, True)[: 1 + rerank]
        for protocol in protocols
    ]


def draw_worst(folder: Path, held_out: HeldOut, protocol: Protocol) -> Path:
    """Draw the fifty queries with the lowest average precision and what they found.

    Args:
        folder: where to.
        held_out: embedded query and gallery.
        protocol: what a query is compared with.

    Returns:
        The contact sheet of all of them.

    Raises:
        DataError: the data set cannot be evaluated, or the folder cannot be written.
    """
    data = held_out.dataset
    rankings = rank_gallery(
        held_out.query, data.query, held_out.gallery, data.gallery, protocol=protocol
    )
    return write_ranked_lists(folder, rankings, data, count=_PICTURES)[-1]
