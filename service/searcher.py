"""A search from pictures to ranked matches: the only place that knows the order.

decode → embed → query → re-rank → group → draw the line at ``min_score``
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from service.artifact import Calibration, Manifest
from service.errors import InvalidInput, ReidError
from service.executors import Threads
from service.gallery.base import Crop, Filter, Gallery, GalleryStore
from service.identities.scoring import IdentityScore
from service.model_shelf import ModelShelf, OpenGallery
from service.ranking import Candidate, Found, Ranking, find, group, rank
from service.shots import Miss, Query, Shot, combined, one_each, require_one_shot, stored, uploaded
from service.stopwatch import Stopwatch
from service.upload import Upload


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search asks for.

    Attributes:
        gallery: name of the gallery.
        top_k: at most this many matches a query.
        where: which crops of the gallery take part.
        crop_ids: stored crops of the gallery that are searched for, beside the uploads.
        camera: which camera took the uploads, where known; a stored crop brings its own.
        exclude_same_camera: leave out crops of the query's own camera.
        min_score: least cosine of a match; None takes the model's calibrated threshold.
        rerank_top: re-rank this many of the nearest crops by k-reciprocal neighbours; 0 does not.
        identity_score: one match an identity, ranked by this score; None: one match a crop.
        combine: all pictures show one person and make one query.
        standardise: rank by embeddings standardised by their camera; None where the gallery can.
    """

    gallery: str
    top_k: int
    where: Filter
    crop_ids: tuple[str, ...] = ()
    camera: str | None = None
    exclude_same_camera: bool = False
    min_score: float | None = None
    rerank_top: int = 0
    identity_score: IdentityScore | None = None
    combine: bool = False
    standardise: bool | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A crop that reached ``min_score``.

    Attributes:
        rank: 1 is the best.
        crop: what the gallery knows of it.
        score: cosine with the query, -1..1.
        probability: that both show the same identity, where the model is calibrated and one
            picture makes the query.
        standardised_score: cosine of the standardised embeddings, where it ranked the match.
        rerank_distance: k-reciprocal distance, smaller is closer, where re-ranking was asked for
            and the crop was among the candidates.
        identity_score: the score of its identity, where grouping was asked for.
        group_size: crops of this identity that made the score: the found ones for ``best``, all
            that pass the filter for ``mean`` and ``top3``.
    """

    rank: int
    crop: Crop
    score: float
    probability: float | None
    standardised_score: float | None
    rerank_distance: float | None
    identity_score: float | None
    group_size: int | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        images: indices of the uploads that made the query.
        crop_ids: the stored crops that made it.
        status: ``unknown`` says that no crop reached ``min_score``; ``error`` that the picture
            could not be used.
        matches: best first.
        nearest: the best cosine there was, whether or not it reached ``min_score``.
        nearest_probability: that it means the same identity, known as a match's is.
        error: what is wrong with the picture.
    """

    images: tuple[int, ...]
    crop_ids: tuple[str, ...]
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


class Searcher:
    """Answers searches.

    Args:
        store: the galleries.
        shelf: the models; a gallery is searched with its own.
        reads: threads that search.
    """

    def __init__(self, store: GalleryStore, shelf: ModelShelf, reads: Threads) -> None:
        self._store = store
        self._reads = reads
        self._shelf = shelf

    async def search(
        self, uploads: Sequence[Upload], options: SearchOptions, stopwatch: Stopwatch
    ) -> SearchOutcome:
        """Find the crops of a gallery that show the same identity.

        Args:
            uploads: image files; none where stored crops are searched for.
            options: what is asked for.
            stopwatch: measures the stages decode, embed, query and rerank.

        Returns:
            One result a picture, uploads before stored crops, in their order; combined, one result
            for all usable ones, followed by one for each that is not.

        Raises:
            NotFound: no such gallery, or no such crop where it is the only picture.
            ModelMismatch: the service does not have the gallery's model.
            InvalidInput: no picture is usable, or the combined ones cancel out.
            Unavailable: the queue is full, or crops vanished while they were being re-ranked.
            Unsupported: standardising was asked for, and what stores the gallery cannot.
        """
        opened = await self._reads.run(self._shelf.open, self._store, options.gallery)
        line = _Line.of(options, opened.model.manifest.calibration)
        asked = await self._ask(opened, uploads, options, stopwatch)
        shots = require_one_shot(asked)
        queries = [combined(shots)] if options.combine else one_each(shots)
        ranking = Ranking(
            options.top_k,
            line.least,
            options.rerank_top,
            options.identity_score,
            options.standardise,
        )
        with stopwatch.stage("query"):
            found = await self._reads.run(_find, opened.gallery, queries, options, ranking)
        if options.rerank_top:
            with stopwatch.stage("rerank"):
                ranked = await self._reads.run(_rank, opened.gallery, queries, found, ranking)
        else:
            ranked = _rank(opened.gallery, queries, found, ranking)
        answers = [
            _result(query, one, candidates, options, line)
            for query, one, candidates in zip(queries, found, ranked, strict=True)
        ]
        results = _in_order(asked, answers, combine=options.combine)
        return SearchOutcome(opened.model.manifest, line.min_score, results)

    async def _ask(
        self,
        opened: OpenGallery,
        uploads: Sequence[Upload],
        options: SearchOptions,
        stopwatch: Stopwatch,
    ) -> list[Shot | Miss]:
        """Every picture of the request, embedded."""
        asked: list[Shot | Miss] = []
        if uploads:
            embeddings = await opened.model.intake.embed(uploads, stopwatch)
            asked += uploaded(uploads, embeddings, options.camera)
        if options.crop_ids:
            crops = await self._reads.run(stored, opened.gallery, options.crop_ids, options.camera)
            asked += map(_with_camera, crops) if options.exclude_same_camera else crops
        return asked


def _with_camera(shot: Shot | Miss) -> Shot | Miss:
    if isinstance(shot, Miss) or shot.camera is not None:
        return shot
    name = f"crop {shot.crop_id!r}"
    error = InvalidInput(f"{name} has no camera: exclude_same_camera needs camera")
    return Miss(error, name, crop_id=shot.crop_id)


def _in_order(
    asked: Sequence[Shot | Miss], answers: Sequence[SearchResult], *, combine: bool
) -> list[SearchResult]:
    """Answers and errors in the order of the request; the answer of all comes first."""
    if combine:
        return [*answers, *(_error(entry) for entry in asked if isinstance(entry, Miss))]
    waiting = iter(answers)
    return [_error(entry) if isinstance(entry, Miss) else next(waiting) for entry in asked]


def _rank(
    gallery: Gallery, queries: Sequence[Query], found: Sequence[Found], ranking: Ranking
) -> list[list[Candidate]]:
    return [rank(gallery, query, one, ranking) for query, one in zip(queries, found, strict=True)]


def _find(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions, ranking: Ranking
) -> list[Found]:
    """What each query finds; queries with the same filter are asked together."""
    found: dict[int, Found] = {}
    wheres = [_where(query, options) for query in queries]
    for where in dict.fromkeys(wheres):
        asked = [index for index, own in enumerate(wheres) if own == where]
        answers = find(gallery, [queries[index] for index in asked], where, ranking)
        found.update(zip(asked, answers, strict=True))
    return [found[index] for index in range(len(queries))]


def _where(query: Query, options: SearchOptions) -> Filter:
    """Which crops may answer a query."""
    if not options.exclude_same_camera:
        return options.where
    if query.camera is None:
        raise InvalidInput(
            "combine and exclude_same_camera together need images and crops of one camera"
        )
    return replace(options.where, not_camera=query.camera)


def _result(
    query: Query, found: Found, candidates: Sequence[Candidate], options: SearchOptions, line: _Line
) -> SearchResult:
    if len(query.shots) > 1:
        line = replace(line, calibration=None)  # fitted on pairs of single crops: too sure here
    matching = [candidate for candidate in candidates if candidate.hit.score >= line.least]
    if options.identity_score is not None:
        matching = group(matching, found, options.identity_score)
    matches = tuple(
        _match(rank, candidate, line)
        for rank, candidate in enumerate(matching[: options.top_k], start=1)
    )
    return SearchResult(
        images=tuple(shot.image for shot in query.shots if shot.image is not None),
        crop_ids=tuple(shot.crop_id for shot in query.shots if shot.crop_id is not None),
        status="matched" if matches else "unknown",
        matches=matches,
        nearest=found.nearest,
        nearest_probability=None if found.nearest is None else line.probability(found.nearest),
    )


def _match(rank: int, candidate: Candidate, line: _Line) -> Match:
    score = candidate.hit.score
    return Match(
        rank=rank,
        crop=candidate.hit.crop,
        score=score,
        probability=line.probability(score),
        standardised_score=candidate.hit.standardised,
        rerank_distance=candidate.rerank_distance,
        identity_score=candidate.identity_score,
        group_size=candidate.group_size,
    )


def _error(miss: Miss) -> SearchResult:
    images = () if miss.image is None else (miss.image,)
    crop_ids = () if miss.crop_id is None else (miss.crop_id,)
    return SearchResult(images, crop_ids, "error", error=miss.error)
