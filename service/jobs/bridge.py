"""From a job's thread to the event loop, where images are embedded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from service.embedding.intake import Embedding, Intake
from service.embedding.encoded_image import EncodedImage
from service.errors import Overloaded, ReidError
from service.gallery.base import Crop
from service.ingest.enroller import Enroller, Enrolment
from service.machine.stopwatch import Stopwatch

_Answer = TypeVar("_Answer")
_LONGEST_WAIT = 5.0
_GIVING_WAY = 0.05  # seconds between two looks whether those who go first are done

BATCH = 16
"""Images a job sends at once. Half a run of the network: so a search that comes in between waits
for the run under way and shares the next one, instead of queueing behind two full ones."""

_BATCHES = 2  # of all jobs together: one is embedded while another is decoded or stored

Pause = Callable[[float], None]


class Bridge:
    """Lets threads embed and enrol; where the service is overloaded they wait and ask again.

    Args:
        running: the running model's intake.
        enroller: adds crops to galleries.
        observe: takes the seconds of each stage.
    """

    def __init__(
        self, running: Intake, enroller: Enroller, observe: Callable[[str, float], object]
    ) -> None:
        self._running = running
        self._enroller = enroller
        self._observe = observe
        self._turns = threading.Semaphore(_BATCHES)
        self._ahead = 0  # how many go first now; the others wait before they take a turn
        self._counting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which event loop the parts belong to; before anything else."""
        self._loop = loop

    @contextmanager
    def going_first(self) -> Iterator[None]:
        """Keep jobs from beginning another batch, so that a switch can catch up with them."""
        with self._counting:
            self._ahead += 1
        try:
            yield
        finally:
            with self._counting:
                self._ahead -= 1

    def embed(
        self,
        uploads: Sequence[EncodedImage],
        pause: Pause,
        intake: Intake | None = None,
        *,
        first: bool = False,
    ) -> list[Embedding | ReidError]:
        """Embed uploads; the caller must hold no lock that a writer may wait for.

        Args:
            uploads: N files.
            pause: waits some seconds between two tries; raises to give up.
            intake: whose embeddings; the running model's if absent.
            first: do not wait for those who are :meth:`going_first`: one of them asks.

        Returns:
            N entries: a (D,) float32 unit row, or what is wrong with that file.

        Raises:
            Unavailable: the network failed for reasons that lie not in the images.
        """
        chosen = intake or self._running
        embedded: list[Embedding | ReidError] = []
        for start in range(0, len(uploads), BATCH):
            part = uploads[start : start + BATCH]
            ask = partial(chosen.embed, part, self._stopwatch())
            embedded += self._patiently(ask, pause, first=first)
        return embedded

    def enrol(
        self, gallery: str, uploads: Sequence[EncodedImage], crops: Sequence[Crop], pause: Pause
    ) -> list[Enrolment]:
        """Insert or replace crops by id, durable on return.

        Args:
            gallery: an existing gallery.
            uploads: N image files, best not more than a :data:`BATCH`.
            crops: what is known of them; upload i shows crop i.
            pause: waits some seconds between two tries; raises to give up.

        Returns:
            N outcomes in the order of the crops.

        Raises:
            ReidError: what :meth:`Enroller.enrol` raises, but for Overloaded.
        """
        outcome = self._patiently(
            lambda: self._enroller.enrol(gallery, uploads, crops, self._stopwatch()), pause
        )
        return outcome.enrolments

    def _patiently(
        self, ask: Callable[[], Coroutine[Any, Any, _Answer]], pause: Pause, *, first: bool = False
    ) -> _Answer:
        if self._loop is None:
            raise RuntimeError("the bridge is not attached to an event loop")
        while True:
            while self._ahead and not first:
                pause(_GIVING_WAY)
            while not self._turns.acquire(timeout=0.5):
                pause(0.0)
            try:
                return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()
            except Overloaded as error:
                seconds = min(error.retry_after, _LONGEST_WAIT)
            finally:
                self._turns.release()
            pause(seconds)

    def _stopwatch(self) -> Stopwatch:
        return Stopwatch(self._observe)
