"""Measure accuracy: rankings, CMC and mAP, under a stated protocol.

Two protocols decide which gallery images a query is compared with:

``market1501``
    Gallery images that show the query's identity in the query's camera are removed (Zheng et al.,
    ICCV 2015).
``cross-camera``
    All gallery images of the query's camera are removed.

In both, images of identity -1 are removed from the gallery, and images of identity 0000 of
Market-1501 stay in it as distractors. A query without a correct image left is skipped, and the
number of skipped queries is stated.

mAP is the finite-sum form: the average precision of a query is the mean, over its correct images,
of (correct so far) / (rank). The trapezoidal form of Market-1501's original MATLAB code gives half
a point to a point less, so figures of the two forms cannot be compared.

Letters: Q queries, G gallery images, D dimensions, K gallery images that a query is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.model.manifest import Accuracy
from service.search.kreciprocal import rerank as rerank_distance
from training.data.datasets import Sample
from training.data.entries import DataError

Protocol = Literal["market1501", "cross-camera"]
PROTOCOLS: tuple[Protocol, ...] = ("market1501", "cross-camera")
Float32s = NDArray[np.float32]

_BLOCK_ELEMENTS = 1 << 24  # distances in memory at once: 64 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The gallery images that one query is compared with, nearest first.

    Attributes:
        query: index of the query.
        gallery: (K,) indices into the gallery; equal distances keep the gallery's order.
        distance: (K,) distance of each image.
        correct: (K,) whether each image shows the query's identity.
    """

    query: int
    gallery: NDArray[np.intp]
    distance: Float32s
    correct: NDArray[np.bool_]

    @property
    def average_precision(self) -> float:
        """Finite-sum average precision, 0..1; NaN without a correct image."""
        ranks = np.flatnonzero(self.correct) + 1
        if not len(ranks):
            return math.nan
        return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))

    @property
    def first_hit(self) -> int:
        """Rank of the first correct image, from 1; 0 without a correct image."""
        return int(np.argmax(self.correct)) + 1 if self.correct.any() else 0


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Accuracy of one evaluation.

    Attributes:
        protocol: what a query is compared with.
        rerank: whether distances were re-ranked by k-reciprocal encoding.
        gallery: number of gallery images.
        average_precision: (Q,) of each query; NaN if it was skipped.
        first_hit: (Q,) rank of each query's first correct image, from 1; 0 if it was skipped.
    """

    protocol: Protocol
    rerank: bool
    gallery: int
    average_precision: NDArray[np.float64]
    first_hit: NDArray[np.intp]

    @property
    def queries(self) -> int:
        """Number of queries that count."""
        return int(np.count_nonzero(self.first_hit))

    @property
    def skipped(self) -> int:
        """Number of queries without a correct image left in the gallery."""
        return len(self.first_hit) - self.queries

    @property
    def map(self) -> float:
        """Mean average precision over the queries that count, finite-sum form, 0..1."""
        return float(np.nanmean(self.average_precision))

    def cmc(self, rank: int) -> float:
        """Share of counted queries with a correct image among the first ``rank``, 0..1."""
        found = (self.first_hit > 0) & (self.first_hit <= rank)
        return np.count_nonzero(found) / self.queries

    def accuracy(self, data: str) -> Accuracy:
        """Make the entry for a model's manifest.

        Args:
            data: name of the data set.

        Returns:
            The entry.
        """
        return Accuracy(
            data=data,
            protocol=self.protocol,
            rerank=self.rerank,
            map=self.map,
            rank1=self.cmc(1),
            rank5=self.cmc(5),
            rank10=self.cmc(10),
            queries=self.queries,
            skipped=self.skipped,
            gallery=self.gallery,
        )


def evaluate(
    query_embeddings: Float32s,
    query: Sequence[Sample],
    gallery_embeddings: Float32s,
    gallery: Sequence[Sample],
    *,
    protocol: Protocol = "market1501",
    rerank: bool = False,
) -> Scores:
    """Search every query in the gallery and measure mAP (finite sum) and CMC.

    Args:
        query_embeddings: (Q, D) float32, unit rows.
        query: Q samples; row i belongs to sample i.
        gallery_embeddings: (G, D) float32, unit rows.
        gallery: G samples; row i belongs to sample i.
        protocol: what a query is compared with; see the module.
        rerank: re-rank by k-reciprocal encoding (Zhong et al., CVPR 2017).

    Returns:
        The scores.

    Raises:
        DataError: the data set cannot be evaluated: no query, unknown identities, one camera, or no
            query with a correct image under the protocol.
        ValueError: shapes do not match, or a value is not finite.
    """
    rankings = rank_gallery(
        query_embeddings, query, gallery_embeddings, gallery, protocol=protocol, rerank=rerank
    )
    return _summarize(rankings, protocol, rerank, len(gallery))


def score(
    distance: Float32s, query: Sequence[Sample], gallery: Sequence[Sample], *, protocol: Protocol
) -> Scores:
    """Measure mAP (finite sum) and CMC of a given distance matrix.

    Args:
        distance: (Q, G); smaller is nearer; equal distances keep the gallery's order.
        query: Q samples.
        gallery: G samples.
        protocol: what a query is compared with; see the module.

    Returns:
        The scores.

    Raises:
        DataError: as for :func:`evaluate`.
        ValueError: the shape does not match, or a distance is not finite.
    """
    _check_evaluable(query, gallery)
    if distance.shape != (len(query), len(gallery)):
        raise ValueError(f"distance {distance.shape} for {len(query)} x {len(gallery)} samples")
    _check_finite("distance", distance)
    rankings = _rank_blocks([distance], query, gallery, protocol)
    return _summarize(rankings, protocol, rerank=False, gallery=len(gallery))


def rank_gallery(
    query_embeddings: Float32s,
    query: Sequence[Sample],
    gallery_embeddings: Float32s,
    gallery: Sequence[Sample],
    *,
    protocol: Protocol = "market1501",
    rerank: bool = False,
) -> Iterator[Ranking]:
    """Rank the gallery for every query, one block of queries at a time.

    Arguments and errors are those of :func:`evaluate`. Distances are ``1 - cosine``, or a mixture
    of Jaccard and Euclidean distance after re-ranking.

    Returns:
        An iterator of Q rankings, in the order of the queries.
    """
    _check_evaluable(query, gallery)
    _check_embeddings("query", query_embeddings, query)
    _check_embeddings("gallery", gallery_embeddings, gallery)
    blocks: Iterable[Float32s] = (
        [rerank_distance(query_embeddings, gallery_embeddings)]
        if rerank
        else _cosine_distances(query_embeddings, gallery_embeddings)
    )
    return _rank_blocks(blocks, query, gallery, protocol)


def _check_evaluable(query: Sequence[Sample], gallery: Sequence[Sample]) -> None:
    if not query or not gallery:
        raise DataError(f"{len(query)} query and {len(gallery)} gallery images: need both")
    if all(sample.identity < 0 for sample in query):
        raise DataError("cannot evaluate: no query image has a known identity")
    if len({sample.camera for sample in (*query, *gallery)}) == 1:
        raise DataError("cannot evaluate: query and gallery come from the same camera")


def _check_embeddings(name: str, embeddings: Float32s, samples: Sequence[Sample]) -> None:
    if embeddings.ndim != 2 or len(embeddings) != len(samples):
        raise ValueError(f"{name} embeddings {embeddings.shape} for {len(samples)} samples")
    _check_finite(f"{name} embeddings", embeddings)


def _check_finite(name: str, values: Float32s) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: holds a value that is not finite")


def _cosine_distances(query: Float32s, gallery: Float32s) -> Iterator[Float32s]:
    rows = max(1, _BLOCK_ELEMENTS // len(gallery))
    for start in range(0, len(query), rows):
        yield 1.0 - query[start : start + rows] @ gallery.T  # (rows, G)


def _rank_blocks(
    blocks: Iterable[Float32s],
    query: Sequence[Sample],
    gallery: Sequence[Sample],
    protocol: Protocol,
) -> Iterator[Ranking]:
    identities = np.array([sample.identity for sample in gallery])
    cameras = np.array([sample.camera for sample in gallery])
    rows = (row for block in blocks for row in block)
    # disable=None: no progress bar unless the output is a terminal
    asked = tqdm(query, "rank", unit="query", disable=None, leave=False)
    for index, (sample, distance) in enumerate(zip(asked, rows, strict=True)):
        correct = identities == sample.identity
        removed = cameras == sample.camera
        if protocol == "market1501":
            removed &= correct
        kept = np.flatnonzero(~removed & (identities >= 0))
        order = kept[np.argsort(distance[kept], kind="stable")]  # (K,)
        yield Ranking(index, order, distance[order], correct[order])


def _summarize(
    rankings: Iterable[Ranking], protocol: Protocol, rerank: bool, gallery: int
) -> Scores:
    per_query = [(ranking.average_precision, ranking.first_hit) for ranking in rankings]
    precisions, first_hits = zip(*per_query, strict=True)
    if not any(first_hits):
        raise DataError(
            f"cannot evaluate: under the protocol {protocol} none of {len(per_query)} query images "
            "has an image of the same identity left in the gallery"
        )
    return Scores(protocol, rerank, gallery, np.array(precisions), np.array(first_hits, np.intp))
