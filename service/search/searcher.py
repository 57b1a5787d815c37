"""A search from pictures to ranked matches: the only place that knows the order.

cost → decode → embed → query → re-rank → group → draw the line at ``min_score``
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.embedding.encoded_image import EncodedImage
from service.embedding.shelf import ModelShelf, OpenGallery
from service.errors import InvalidInput
from service.gallery.base import GalleryStore
from service.machine.executors import Threads
from service.machine.stopwatch import Stopwatch
from service.search.options import SearchOptions, SearchOutcome
from service.search.results import Match, SearchResult
from service.search.shots import Miss, Shot, stored, uploaded
from service.search.work import SearchWork, work_of

__all__ = ["Match", "Payer", "SearchOptions", "SearchOutcome", "SearchResult", "Searcher"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a search.

    Attributes:
        client: the name it is charged to.
        charge: takes so many requests more from the client's share, or raises TooManyRequests.
    """

    client: str
    charge: Callable[[int], object]


class Searcher:
    """Answers searches.

    Args:
        store: the galleries.
        shelf: the models; a gallery is searched with its own.
        reads: threads for light searches.
        heavy: threads for searches that cost much.
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
        uploads: Sequence[EncodedImage],
        options: SearchOptions,
        payer: Payer,
        stopwatch: Stopwatch,
        write: Callable[[SearchOutcome], _Answer],
    ) -> _Answer:
        """Find the crops of a gallery that show the same identity.

        A heavy search lets other clients' go first between any two of its steps, and ends there
        where its client has left.

        Args:
            uploads: image files; none where stored crops are searched for.
            options: what is asked for.
            payer: who pays.
            stopwatch: measures the stages decode, embed, query and rerank.
            write: makes the answer of one result a picture, uploads before stored crops, in their
                order; combined, of one result for all usable ones, followed by one for each that is
                not. It runs in a thread: the loop answers others meanwhile.

        Returns:
            What ``write`` made.

        Raises:
            NotFound: no such gallery, or no such crop where it is the only picture.
            ModelMismatch: the service does not have the gallery's model.
            InvalidInput: too much is asked for, no picture is usable, or the combined ones cancel
                out.
            TooManyRequests: the client's share is used up.
            Unavailable: a queue is full, crops vanished while they were being re-ranked, or the
                client has left.
            Unsupported: standardising was asked for, and what stores the gallery cannot.
        """
        cost = options.cost(len(uploads))
        cost.require_allowed()
        reads = self._reads.of(payer.client)
        opened, crops = await reads.run(self._look, options)
        light = cost.is_light(crops)
        if not light:
            self._heavy.turns.admit(payer.client)
            payer.charge(cost.tokens(crops) - 1)
        asked = await self._ask(opened, uploads, options, stopwatch)
        begin = partial(work_of, opened, asked, options, cost, stopwatch)
        if light:
            return await reads.run(_at_once, begin, write)
        return await self._in_steps(begin, payer.client, write)

    def _look(self, options: SearchOptions) -> tuple[OpenGallery, int]:
        """The gallery, and how many of its crops can answer."""
        opened = self._shelf.open(self._store, options.gallery)
        return opened, opened.gallery.count(options.where)

    async def _ask(
        self,
        opened: OpenGallery,
        uploads: Sequence[EncodedImage],
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

    async def _in_steps(
        self,
        begin: Callable[[], SearchWork],
        client: str,
        write: Callable[[SearchOutcome], _Answer],
    ) -> _Answer:
        async with self._heavy.turns.taken(client) as turn:
            work = await self._heavy.run(begin)
            for step in work.steps:
                await turn.pass_on()
                await self._heavy.run(work.do, step)
            await turn.pass_on()
            return await self._heavy.run(lambda: write(work.outcome()))


def _at_once(begin: Callable[[], SearchWork], write: Callable[[SearchOutcome], _Answer]) -> _Answer:
    work = begin()
    for step in work.steps:
        work.do(step)
    return write(work.outcome())


def _with_camera(shot: Shot | Miss) -> Shot | Miss:
    if isinstance(shot, Miss) or shot.camera is not None:
        return shot
    name = f"crop {shot.crop_id!r}"
    error = InvalidInput(f"{name} has no camera: exclude_same_camera needs camera")
    return Miss(error, name, crop_id=shot.crop_id)
