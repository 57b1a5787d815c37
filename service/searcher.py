"""A search from pictures to ranked matches: the only place that knows the order.

decode → embed → query → re-rank → group → draw the line at ``min_score``
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from service.artifact import Manifest
from service.errors import InvalidInput
from service.executors import Threads
from service.filter_warnings import FilterWarning, warnings_of
from service.gallery.base import Filter, Gallery, GalleryStore
from service.identities.scoring import IdentityScore
from service.model_shelf import ModelShelf, OpenGallery
from service.ranking import Found, Ranking, find, rank
from service.search_results import Answered, Line, Match, SearchResult, in_order, result_of
from service.shots import Miss, Query, Shot, combined, one_each, require_one_shot, stored, uploaded
from service.stopwatch import Stopwatch
from service.upload import Upload

__all__ = ["Match", "SearchOptions", "SearchOutcome", "SearchResult", "Searcher"]


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

    def ranking(self, least: float) -> Ranking:
        """How candidates are found and ordered.

        Args:
            least: least cosine of a match.
        """
        return Ranking(self.top_k, least, self.rerank_top, self.identity_score, self.standardise)


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The answer to a search.

    Attributes:
        model: the gallery's model, which embedded the uploads.
        min_score: the line that was drawn, None where none was.
        results: one a query, in order.
        warnings: what is odd about the filter.
    """

    model: Manifest
    min_score: float | None
    results: list[SearchResult]
    warnings: list[FilterWarning]


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
        asked = await self._ask(opened, uploads, options, stopwatch)
        # All that grows with the matches happens in a thread: the loop answers others meanwhile.
        return await self._reads.run(_outcome, opened, asked, options, stopwatch)

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


def _outcome(
    opened: OpenGallery, asked: Sequence[Shot | Miss], options: SearchOptions, stopwatch: Stopwatch
) -> SearchOutcome:
    """Search for what was embedded."""
    manifest = opened.model.manifest
    line = Line.of(options.min_score, manifest.calibration)
    shots = require_one_shot(asked)
    queries = [combined(shots)] if options.combine else one_each(shots)
    ranking = options.ranking(line.least)
    with stopwatch.stage("query"):
        found = _find(opened.gallery, queries, options, ranking)
    with stopwatch.stage("rerank") if options.rerank_top else nullcontext():
        answered = [
            Answered(query, one, rank(opened.gallery, query, one, ranking), considered)
            for query, (one, considered) in zip(queries, found, strict=True)
        ]
    answers = [result_of(one, line, ranking) for one in answered]
    return SearchOutcome(
        model=manifest,
        min_score=line.min_score,
        results=in_order(asked, answers, combine=options.combine),
        warnings=_warnings(opened.gallery, queries, options),
    )


def _find(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions, ranking: Ranking
) -> list[tuple[Found, int]]:
    """What each query finds, and among how many; queries with the same filter are asked together.

    The gallery keeps the mask of the latest filter, so counting first costs nothing more.
    """
    found: dict[int, tuple[Found, int]] = {}
    wheres = [_where(query, options) for query in queries]
    for where in dict.fromkeys(wheres):
        asked = [index for index, own in enumerate(wheres) if own == where]
        passing = gallery.count(where)
        answers = find(gallery, [queries[index] for index in asked], where, ranking)
        for index, answer in zip(asked, answers, strict=True):
            found[index] = answer, passing - _own_among(gallery, queries[index], where)
    return [found[index] for index in range(len(queries))]


def _own_among(gallery: Gallery, query: Query, where: Filter) -> int:
    """How many of the crops that a query is made of pass the filter: it cannot find those."""
    own = query.crop_ids if where.crop_ids is None else query.crop_ids & where.crop_ids
    return gallery.count(replace(where, crop_ids=own)) if own else 0


def _warnings(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions
) -> list[FilterWarning]:
    """What is odd about the filter, and about the cameras whose crops are to be left out."""
    excluded = queries if options.exclude_same_camera else ()
    own = frozenset(query.camera for query in excluded if query.camera is not None)
    return warnings_of(gallery, options.where, ids_field="among", own_cameras=own)


def _where(query: Query, options: SearchOptions) -> Filter:
    """Which crops may answer a query."""
    if not options.exclude_same_camera:
        return options.where
    if query.camera is None:
        raise InvalidInput(
            "combine and exclude_same_camera together need images and crops of one camera"
        )
    return replace(options.where, own_camera=query.camera)
