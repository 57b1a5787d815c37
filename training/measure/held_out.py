"""Measure a model on the query and gallery crops of labelled data sets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.embedding.imaging import Resize
from service.model.manifest import Accuracy
from training.data.datasets import Dataset, DataSource, Sample, read_dataset
from training.data.entries import DataError, describe_skipped
from training.data.images import Images, load_images
from training.data.layouts import Layout
from training.measure.evaluation import PROTOCOLS, Protocol, evaluate, rank_gallery
from training.measure.pictures import write_ranked_lists
from training.networks.embedder import Embedder

Float32s = NDArray[np.float32]
Room = Callable[[int], NDArray[np.uint8] | None]
"""Makes room for a number of decoded crops; None means that the decoder allocates memory."""

_PICTURES = 50


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutCrops:
    """Decoded query and gallery crops of a data set.

    Attributes:
        dataset: its query and gallery list exactly the crops that could be decoded.
        query: the crops to search for.
        gallery: the crops to search in.
    """

    dataset: Dataset
    query: Images
    gallery: Images

    @property
    def skipped_lines(self) -> list[str]:
        """One line per file that could not be used, and their number."""
        unusable = (*self.dataset.skipped, *self.query.skipped, *self.gallery.skipped)
        return describe_skipped(unusable)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutEmbeddings:
    """Embedded query and gallery crops of a data set: row i belongs to sample i.

    Attributes:
        dataset: the data set; its query and gallery were embedded.
        query: (Q, D) float32, unit rows.
        gallery: (G, D) float32, unit rows.
    """

    dataset: Dataset
    query: Float32s
    gallery: Float32s


def read_held_out(
    paths: Sequence[Path], *, skip_bad: bool = False, layout: Literal["auto", Layout] = "auto"
) -> list[Dataset]:
    """List the files of labelled data sets, each with a query and a gallery.

    Args:
        paths: folders or manifest files.
        skip_bad: leave out files that break a rule, instead of stopping.
        layout: how names give identity and camera.

    Returns:
        One data set per path.

    Raises:
        DataError: a data set cannot be read or lacks query or gallery, or two have the same name.
    """
    sources = [DataSource(path, layout=layout, skip_bad=skip_bad) for path in paths]
    datasets = [read_dataset(source) for source in sources]
    for dataset in datasets:
        if not dataset.query or not dataset.gallery:
            raise DataError(f"{dataset.summary}: need query and gallery to measure on")
    names = [dataset.name for dataset in datasets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"two data sets are named {twice.pop()}; rename one to tell results apart")
    return datasets


def in_memory(count: int) -> None:
    """Leave it to the decoder to allocate main memory.

    Args:
        count: number of crops.
    """


def decode_held_out(
    dataset: Dataset,
    height: int,
    width: int,
    *,
    resize: Resize = "bicubic",
    skip_bad: bool = False,
    room: Room = in_memory,
) -> HeldOutCrops:
    """Decode the query and gallery crops of a data set.

    Args:
        dataset: a data set that has both.
        height: pixels.
        width: pixels.
        resize: the interpolation.
        skip_bad: leave out crops that cannot be decoded, instead of stopping.
        room: makes room for a number of crops.

    Returns:
        The crops.

    Raises:
        DataError: a crop cannot be decoded and ``skip_bad`` is off, or none can.
    """
    query, gallery = (
        load_images(
            samples, height, width, resize=resize, skip_bad=skip_bad, out=room(len(samples))
        )
        for samples in (dataset.query, dataset.gallery)
    )
    readable = replace(dataset, query=query.samples, gallery=gallery.samples)
    return HeldOutCrops(readable, query, gallery)


def load_held_out(dataset: Dataset, embedder: Embedder) -> HeldOutCrops:
    """Decode query and gallery as an embedder needs them, and list skipped files on stderr.

    Args:
        dataset: a data set that has both.
        embedder: gives size and interpolation.

    Returns:
        The crops.

    Raises:
        DataError: a crop cannot be decoded, and the data set does not skip such crops.
    """
    crops = decode_held_out(
        dataset,
        embedder.height,
        embedder.width,
        resize=embedder.resize,
        skip_bad=dataset.source.skip_bad,
    )
    for line in crops.skipped_lines:
        tqdm.write(line, file=sys.stderr)
    return crops


def load_as(embedder: Embedder, samples: Sequence[Sample], *, skip_bad: bool) -> Images:
    """Decode crops as an embedder needs them.

    Args:
        embedder: gives size and interpolation.
        samples: the crops.
        skip_bad: leave out files that cannot be decoded, instead of stopping.

    Returns:
        The crops.

    Raises:
        DataError: a crop cannot be decoded, and such crops are not skipped.
    """
    return load_images(
        samples, embedder.height, embedder.width, resize=embedder.resize, skip_bad=skip_bad
    )


def embed_held_out(embedder: Embedder, crops: HeldOutCrops) -> HeldOutEmbeddings:
    """Embed query and gallery.

    Args:
        embedder: the model.
        crops: of the embedder's size.

    Returns:
        The embeddings.
    """
    query, gallery = (embedder.embed(images.pixels) for images in (crops.query, crops.gallery))
    return HeldOutEmbeddings(crops.dataset, query, gallery)


def measure(
    held_out: HeldOutEmbeddings, protocols: Sequence[Protocol], *, rerank: bool = False
) -> list[Accuracy]:
    """Measure mAP (finite sum) and CMC.

    Args:
        held_out: embedded query and gallery.
        protocols: what a query is compared with; each gives one line.
        rerank: add a second line per protocol, after k-reciprocal re-ranking.

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


def measure_each(held_out: Iterable[HeldOutEmbeddings]) -> tuple[Accuracy, ...]:
    """Measure each data set under every protocol, for a manifest; see :func:`measure`."""
    return tuple(line for each in held_out for line in measure(each, PROTOCOLS))


def draw_worst(folder: Path, held_out: HeldOutEmbeddings, protocol: Protocol) -> Path:
    """Draw the ranked lists of the fifty queries with the lowest average precision.

    Args:
        folder: where to write.
        held_out: embedded query and gallery.
        protocol: what a query is compared with.

    Returns:
        The contact sheet of all fifty.

    Raises:
        DataError: the data set cannot be evaluated, or the folder cannot be written.
    """
    data = held_out.dataset
    rankings = rank_gallery(
        held_out.query, data.query, held_out.gallery, data.gallery, protocol=protocol
    )
    return write_ranked_lists(folder, rankings, data, count=_PICTURES)[-1]
