"""A search from uploaded crops to ranked matches: the only place that knows the order.

decode → embed → query → re-rank → group → draw the line at ``min_score``
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from service.artifact import Calibration, Manifest
from service.errors import InvalidInput, NotFound, ReidError, Unavailable
from service.gallery.base import Crop, Filter, Gallery, GalleryStore, Hit
from service.intake import Embedding, require_one_usable
from service.kreciprocal import rerank
from service.model_shelf import ModelShelf
from service.stopwatch import Stopwatch
from service.upload import Upload

GROUPED_CANDIDATES = 10_000
"""Grouping by identity looks at no more than this many crops of the gallery."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search asks for.

    Attributes:
        gallery: name of the gallery.
        top_k: at most this many matches a query.
        where: which crops of the gallery take part.
        min_score: least cosine of a match; None takes the model's calibrated threshold.
        rerank_top: re-rank this many of the nearest crops by k-reciprocal neighbours; 0 does not.
        group_by_identity: one match an identity, its best crop.
        combine: all images show one person and make one query.
    """

    gallery: str
    top_k: int
    where: Filter
    min_score: float | None = None
    rerank_top: int = 0
    group_by_identity: bool = False
    combine: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A crop that reached ``min_score``.

    Attributes:
        rank: 1 is the best.
        crop: what the gallery knows of it.
        score: cosine with the query, -1..1.
        probability: that both show the same identity, where the model is calibrated.
        rerank_distance: k-reciprocal distance, smaller is closer, where re-ranking was asked for
            and the crop was among the candidates.
        group_size: found crops of this identity, where grouping was asked for.
    """

    rank: int
    crop: Crop
    score: float
    probability: float | None
    rerank_distance: float | None
    group_size: int | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        images: indices of the uploads that made the query.
        status: ``unknown`` says that no crop reached ``min_score``; ``error`` that the upload
            could not be used.
        matches: best first.
        nearest: the best cosine there was, whether or not it reached ``min_score``.
        nearest_probability: that it means the same identity, where the model is calibrated.
        error: what is wrong with the upload.
    """

    images: tuple[int, ...]
    status: Literal["matched", "unknown", "error"]
    matches: tuple[Match, ...] = ()
    nearest: float | None = None
    nearest_probability: float | None = None
    error: ReidError | None = None


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The answer to a search.

    Attributes:
        model: the gallery's model, which embedded the uploads.
        min_score: the line that was drawn, None where none was.
        results: one a query, in order.
    """

    model: Manifest
    min_score: float | None
    results: list[SearchResult]


@dataclass(frozen=True, slots=True)
class _Line:
    """What a cosine means: where matches begin, and how sure one is."""

    min_score: float | None
    calibration: Calibration | None

    @classmethod
    def of(cls, options: SearchOptions, calibration: Calibration | None) -> _Line:
        if options.min_score is not None or calibration is None:
            return cls(options.min_score, calibration)
        return cls(calibration.threshold, calibration)

    @property
    def least(self) -> float:
        return -math.inf if self.min_score is None else self.min_score

    def probability(self, score: float) -> float | None:
        return None if self.calibration is None else self.calibration.probability(score)


@dataclass(frozen=True, slots=True)
class _Query:
    images: tuple[int, ...]
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class _Candidate:
    hit: Hit
    rerank_distance: float | None = None
    group_size: int | None = None


class Searcher:
    """Answers searches.

    Args:
        store: the galleries.
        shelf: the models; a gallery is searched with its own.
    """

    def __init__(self, store: GalleryStore, shelf: ModelShelf) -> None:
        self._store = store
        self._shelf = shelf

    async def search(
        self, uploads: Sequence[Upload], options: SearchOptions, stopwatch: Stopwatch
    ) -> SearchOutcome:
        """Find the crops of a gallery that show the same identity.

        Args:
            uploads: image files, at least one.
            options: what is asked for.
            stopwatch: measures the stages decode, embed, query and rerank.

        Returns:
            One result an upload in their order; combined, one result for all usable uploads,
            followed by one for each upload that is not.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            InvalidInput: no upload is usable, or the combined ones cancel out.
            Unavailable: the queue is full, or crops vanished while they were being re-ranked.
        """
        opened = await asyncio.to_thread(self._shelf.open, self._store, options.gallery)
        manifest = opened.model.manifest
        line = _Line.of(options, manifest.calibration)
        embeddings = await opened.model.intake.embed(uploads, stopwatch)
        require_one_usable(uploads, embeddings)
        queries = _combined(embeddings) if options.combine else _one_each(embeddings)
        rows = np.stack([query.embedding for query in queries])
        with stopwatch.stage("query"):
            found = await asyncio.to_thread(_nearest, opened.gallery, rows, options, line.least)
        ranked = [[_Candidate(hit) for hit in hits] for hits in found]
        if options.rerank_top:
            with stopwatch.stage("rerank"):
                ranked = await asyncio.to_thread(
                    _reranked, opened.gallery, rows, found, options.rerank_top
                )
        results = [
            _result(query, candidates, options, line)
            for query, candidates in zip(queries, ranked, strict=True)
        ]
        results += _errors(embeddings)
        if not options.combine:
            results.sort(key=lambda result: result.images)
        return SearchOutcome(manifest, line.min_score, results)


def _nearest(
    gallery: Gallery, rows: Embedding, options: SearchOptions, least: float
) -> list[list[Hit]]:
    depth = max(options.top_k, options.rerank_top)
    found = gallery.query(rows, depth, options.where)
    if not options.group_by_identity:
        return found
    # One person's crops may fill the first ranks, so look deeper until top_k people are found.
    while depth < GROUPED_CANDIDATES and any(
        _may_hide_identities(hits, depth, least, options.top_k) for hits in found
    ):
        depth = min(4 * depth, GROUPED_CANDIDATES)
        found = gallery.query(rows, depth, options.where)
    return found


def _reranked(
    gallery: Gallery, rows: Embedding, found: Sequence[Sequence[Hit]], top: int
) -> list[list[_Candidate]]:
    return [_reranked_hits(gallery, row, hits, top) for row, hits in zip(rows, found, strict=True)]


def _result(
    query: _Query, candidates: Sequence[_Candidate], options: SearchOptions, line: _Line
) -> SearchResult:
    nearest = max((candidate.hit.score for candidate in candidates), default=None)
    matching = [candidate for candidate in candidates if candidate.hit.score >= line.least]
    if options.group_by_identity:
        matching = _grouped(matching)
    matches = tuple(
        _match(rank, candidate, line)
        for rank, candidate in enumerate(matching[: options.top_k], start=1)
    )
    return SearchResult(
        images=query.images,
        status="matched" if matches else "unknown",
        matches=matches,
        nearest=nearest,
        nearest_probability=None if nearest is None else line.probability(nearest),
    )


def _match(rank: int, candidate: _Candidate, line: _Line) -> Match:
    score = candidate.hit.score
    return Match(
        rank=rank,
        crop=candidate.hit.crop,
        score=score,
        probability=line.probability(score),
        rerank_distance=candidate.rerank_distance,
        group_size=candidate.group_size,
    )


def _one_each(embeddings: Sequence[Embedding | ReidError]) -> list[_Query]:
    return [
        _Query((index,), embedding)
        for index, embedding in enumerate(embeddings)
        if not isinstance(embedding, ReidError)
    ]


def _combined(embeddings: Sequence[Embedding | ReidError]) -> list[_Query]:
    queries = _one_each(embeddings)
    mean = np.mean([query.embedding for query in queries], axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise InvalidInput("combine: the embeddings of these images cancel each other out")
    images = tuple(index for query in queries for index in query.images)
    return [_Query(images, (mean / length).astype(np.float32))]


def _errors(embeddings: Sequence[Embedding | ReidError]) -> list[SearchResult]:
    return [
        SearchResult((index,), "error", error=entry)
        for index, entry in enumerate(embeddings)
        if isinstance(entry, ReidError)
    ]


def _reranked_hits(
    gallery: Gallery, row: Embedding, hits: Sequence[Hit], top: int
) -> list[_Candidate]:
    """The first ``top`` hits by k-reciprocal distance, then the others as they were."""
    head, tail = hits[:top], hits[top:]
    if not head:
        return []
    try:
        rows = gallery.embeddings([hit.crop.crop_id for hit in head])
    except NotFound as error:
        raise Unavailable("crops were deleted while they were being re-ranked") from error
    distances = rerank(row[None], rows)[0]
    order = np.argsort(distances, kind="stable")
    closest = [_Candidate(head[index], float(distances[index])) for index in order]
    return closest + [_Candidate(hit) for hit in tail]


def _may_hide_identities(hits: Sequence[Hit], depth: int, least: float, wanted: int) -> bool:
    if len(hits) < depth or hits[-1].score < least:
        return False
    return len({_group_key(hit.crop) for hit in hits}) < wanted


def _grouped(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The first candidate of every identity; a crop without one stands for itself."""
    sizes = Counter(_group_key(candidate.hit.crop) for candidate in candidates)
    first: dict[tuple[bool, str], _Candidate] = {}
    for candidate in candidates:
        first.setdefault(_group_key(candidate.hit.crop), candidate)
    return [replace(candidate, group_size=sizes[key]) for key, candidate in first.items()]


def _group_key(crop: Crop) -> tuple[bool, str]:
    return (True, crop.identity) if crop.identity is not None else (False, crop.crop_id)
