"""Run a search from images to ranked matches.

This module alone knows the order of the stages: decode → embed → query → re-rank → group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from service.embedding.shelf import ModelShelf, OpenGallery
from service.gallery.filter_warnings import FilterWarning, warnings_of
from service.gallery.protocol import Gallery, GalleryStore
from service.machine.executors import Threads
from service.machine.stopwatch import Stopwatch
from service.model.manifest import Calibration
from service.search.cost import SearchCost
from service.search.finding import find
from service.search.options import SearchOptions
from service.search.query_batches import QueryBatch, batches_of
from service.search.ranking import candidates_of
from service.search.results import Match, SearchOutcome, SearchResult, in_order, result_of
from service.search.shots import (
    Picture,
    Query,
    QueryPicture,
    image_files,
    queries_of,
    require_camera,
    stored_shots,
    uploaded_shots,
    vector_shots,
)
from service.search.tracks import track_queries

__all__ = ["Match", "Payer", "SearchOptions", "SearchOutcome", "SearchResult", "Searcher"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Payer:
    """The client that a search is charged to.

    Attributes:
        client: its name.
        charge: charges this many more requests to the client, or raises TooManyRequests.
    """

    client: str
    charge: Callable[[int], object]


class Searcher:
    """Answers searches.

    Args:
        store: the galleries.
        shelf: the models; each gallery is searched with its own.
        reads: threads for light searches.
        heavy: threads for expensive searches.
    """

    def __init__(
        self, store: GalleryStore, shelf: ModelShelf, reads: Threads, heavy: Threads
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._reads = reads
        self._heavy = heavy

    async def search(
        self,
        uploads: Sequence[QueryPicture],
        options: SearchOptions,
        payer: Payer,
        stopwatch: Stopwatch,
        write: Callable[[SearchOutcome], _Answer],
    ) -> _Answer:
        """Find the crops of a gallery that show the same identity.

        Between two batches of its queries a heavy search lets other clients go first, and stops if
        its client has disconnected.

        Args:
            uploads: the pictures of the request; may be empty if stored crops are searched for.
            options: what is asked for.
            payer: the client to charge.
            stopwatch: measures the stages decode, embed, query and rerank.
            write: turns the outcome into the answer. It gets one result per picture, uploaded
                images before stored crops before stored tracks, each in their order; a combined
                search has one result for all usable pictures, followed by one per unusable picture.
                It runs in a thread, so the event loop stays free.

        Returns:
            What ``write`` returned.

        Raises:
            NotFound: no such gallery, or no such crop if it is the only picture.
            ModelMismatch: the service does not have the gallery's model.
            InvalidInput: the search is too large, no picture is usable, or the combined embeddings
                cancel out.
            TooManyRequests: the client has used up its limit.
            Unavailable: a queue is full, crops were deleted while they were being re-ranked, or the
                client has disconnected.
            Unsupported: standardising was asked for, but the gallery's store cannot do it.
        """
        cost = options.cost(len(image_files(uploads)))
        cost.require_allowed()
        reads = self._reads.of(payer.client)
        opened, crops = await reads.run(self._open, options)
        light = cost.is_light(crops)
        if not light:
            self._heavy.turns.admit(payer.client)
            payer.charge(cost.tokens(crops) - 1)
        pictures = await self._embed(opened, uploads, options, stopwatch)
        batches = _answer_in_batches(opened, pictures, options, cost, stopwatch)
        if light:
            return await reads.run(lambda: write(_finish(batches)))
        return await self._take_turns(batches, payer.client, write)

    def _open(self, options: SearchOptions) -> tuple[OpenGallery, int]:
        """The gallery, and how many of its crops can match."""
        opened = self._shelf.open(self._store, options.gallery)
        return opened, opened.gallery.count(options.where)

    async def _embed(
        self,
        opened: OpenGallery,
        uploads: Sequence[QueryPicture],
        options: SearchOptions,
        stopwatch: Stopwatch,
    ) -> list[Picture]:
        """Decode and embed the uploaded images; look up the stored crops and tracks."""
        pictures: list[Picture] = []
        if uploads:
            embeddings = await opened.model.intake.embed(image_files(uploads), stopwatch)
            pictures += uploaded_shots(uploads, embeddings, options.camera)
        if options.vectors:
            pictures += await self._reads.run(
                vector_shots, opened, options.vectors, options.camera, options.model_sha256
            )
        if options.crop_ids:
            crops = await self._reads.run(
                stored_shots, opened.gallery, options.crop_ids, options.camera
            )
            pictures += map(require_camera, crops) if options.exclude_same_camera else crops
        if options.tracks:
            tracks = await self._reads.run(
                track_queries, opened.gallery, options.tracks, options.camera
            )
            pictures += map(require_camera, tracks) if options.exclude_same_camera else tracks
        return pictures

    async def _take_turns(
        self,
        batches: Iterator[SearchOutcome | None],
        client: str,
        write: Callable[[SearchOutcome], _Answer],
    ) -> _Answer:
        """Answer batch by batch; other clients may go first in between."""
        async with self._heavy.turns.taken(client) as turn:
            outcome: SearchOutcome | None = None
            while outcome is None:
                outcome = await self._heavy.run(next, batches)
                await turn.pass_on()
            return await self._heavy.run(write, outcome)


def _answer_in_batches(
    opened: OpenGallery,
    pictures: Sequence[Picture],
    options: SearchOptions,
    cost: SearchCost,
    stopwatch: Stopwatch,
) -> Iterator[SearchOutcome | None]:
    """Answer a search whose pictures are embedded: query → re-rank → group.

    Yields:
        None before each batch of queries, where the caller may pause; the outcome at the end.

    Raises:
        ReidError: no picture is usable, or the pictures cannot make a query.
    """
    model, gallery = opened.model.manifest, opened.gallery
    options = options.with_threshold_of(model.calibration)
    queries = queries_of(pictures, combine=options.combine)
    with stopwatch.part("query"):
        batches = batches_of(gallery, queries, options, cost)
    results: dict[int, SearchResult] = {}
    for batch in batches:
        yield None
        answers = _answer(batch, gallery, options, model.calibration, stopwatch)
        results |= zip(batch.places, answers, strict=True)
    stopwatch.tell("query")
    if options.rerank_top:
        stopwatch.tell("rerank")
    yield SearchOutcome(
        model=model,
        min_score=options.min_score,
        results=in_order(
            pictures, [results[place] for place in range(len(queries))], combine=options.combine
        ),
        warnings=_warnings(gallery, queries, options),
    )


def _answer(
    batch: QueryBatch,
    gallery: Gallery,
    options: SearchOptions,
    calibration: Calibration | None,
    stopwatch: Stopwatch,
) -> list[SearchResult]:
    """Answer one batch of queries: query → re-rank → group."""
    with stopwatch.part("query"):
        found = find(gallery, batch.queries, batch.where, options, batch.groups)
    with stopwatch.part("rerank") if options.rerank_top else nullcontext():
        ranked = [
            candidates_of(gallery, query, one, options.rerank_top)
            for query, one in zip(batch.queries, found, strict=True)
        ]
    return [
        result_of(query, one, candidates, considered, options, calibration)
        for query, one, candidates, considered in zip(
            batch.queries, found, ranked, batch.considered, strict=True
        )
    ]


def _finish(batches: Iterator[SearchOutcome | None]) -> SearchOutcome:
    """Answer every batch without a pause."""
    return next(outcome for outcome in batches if outcome is not None)


def _warnings(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions
) -> list[FilterWarning]:
    """What looks wrong about the filter, or about the cameras to leave out."""
    excluded = queries if options.exclude_same_camera else ()
    own = frozenset(query.camera for query in excluded if query.camera is not None)
    return warnings_of(gallery, options.where, ids_field="among", own_cameras=own)
