"""The way from a job's thread to the event loop, where persons are found and images embedded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import PeopledFrame, PersonCutter
from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding, Intake
from service.errors import Overloaded, ReidError
from service.gallery.base import Crop
from service.ingest.enroller import Enroller
from service.ingest.storing import Enrolment
from service.machine.stopwatch import Stopwatch

_Answer = TypeVar("_Answer")
_LONGEST_WAIT = 5.0
_GIVING_WAY = 0.05  # seconds between two checks whether a switch is still going first

BATCH = 16
"""Images per batch of a job: half of what the network takes in one run. A search that arrives
meanwhile waits for the present run and shares the next one, instead of queueing behind two full
runs."""

_BATCHES = 2  # over all jobs: one is embedded while another is decoded or stored

Pause = Callable[[float], None]


class Bridge:
    """Lets threads detect, embed and enrol; while the service is overloaded they wait and retry.

    Args:
        running: the running model's intake.
        enroller: adds crops to galleries.
        cutter: finds the persons on frames.
        observe: receives the name of each stage and the seconds it took.
    """

    def __init__(
        self,
        running: Intake,
        enroller: Enroller,
        cutter: PersonCutter,
        observe: Callable[[str, float], object],
    ) -> None:
        self._running = running
        self._enroller = enroller
        self._cutter = cutter
        self._observe = observe
        self._turns = threading.Semaphore(_BATCHES)
        self._ahead = 0  # switches that go first now; others wait before they take a turn
        self._counting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop of the intake and the enroller; call this first."""
        self._loop = loop

    @contextmanager
    def going_first(self) -> Iterator[None]:
        """Keep jobs from starting another batch, so that a switch can catch up with them."""
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
            pause: sleeps for some seconds between two tries; raises to give up.
            intake: the model to use; the running model if absent.
            first: the caller is :meth:`going_first`, so it does not wait for others that are.

        Returns:
            N entries: a (D,) float32 unit row, or the error of that file.

        Raises:
            Unavailable: the network failed for a reason unrelated to the images.
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
            uploads: N image files, preferably at most :data:`BATCH`.
            crops: their metadata; upload i shows crop i.
            pause: sleeps for some seconds between two tries; raises to give up.

        Returns:
            N outcomes in the order of the crops.

        Raises:
            ReidError: what :meth:`Enroller.enrol` raises, except Overloaded.
        """
        outcome = self._patiently(
            lambda: self._enroller.enrol(gallery, uploads, crops, self._stopwatch()), pause
        )
        return outcome.enrolments

    def require_detector(self) -> None:
        """Check that persons can be found. Raises Unsupported: the service has no detector."""
        self._cutter.require()

    def find_persons(
        self, frames: Sequence[EncodedImage], options: FrameOptions, pause: Pause
    ) -> list[PeopledFrame | ReidError]:
        """Find the persons on frames and cut them out.

        Args:
            frames: N image files, preferably few.
            options: how to look at them.
            pause: sleeps for some seconds between two tries; raises to give up.

        Returns:
            N entries: the persons, or the error of that file.

        Raises:
            ReidError: what :meth:`PersonCutter.find` raises, except Overloaded.
        """
        return self._patiently(lambda: self._cutter.find(frames, options, self._stopwatch()), pause)

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
