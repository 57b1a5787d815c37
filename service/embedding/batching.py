"""Gathers the images of concurrent requests into shared runs of the network.

A run starts as soon as the network is free and takes whatever waits by then, so an idle service
adds no delay and a busy one fills its batches by itself (the semantics of Triton's dynamic
batching with zero queue delay). Nobody waits longer than a bound: who would have to is refused on
arrival, by the measured rate, and who has to all the same is refused then.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.embedding.embedder import Embedder, check_batch
from service.errors import Overloaded, ReidError, TooLarge, Unavailable
from service.machine.disconnect import current_disconnect
from service.machine.processors import lower_priority

Image = NDArray[np.uint8]
Outcome = NDArray[np.float32] | ReidError

_ADMITTED = 0.5  # of the longest wait; the other half is for what an estimate misses under load
_MEMORY = 0.8  # weight of the past in the measured rate: about the last five runs count

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """Counts at one moment.

    Attributes:
        queued: images that wait for a run.
        runs: batches that have ended.
        images: images in these batches.
        images_per_second: of the latest runs; 0 before the first one.
    """

    queued: int
    runs: int
    images: int
    images_per_second: float


@dataclass(slots=True, eq=False)
class _Call:
    """The images of one caller; runs take them in order, so outcomes arrive in order."""

    images: Sequence[Image]
    answer: asyncio.Future[list[Outcome]]
    taken: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return len(self.images) - self.taken

    def take(self, most: int) -> Sequence[Image]:
        images = self.images[self.taken : self.taken + most]
        self.taken += len(images)
        return images

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if len(self.outcomes) == len(self.images) and not self.answer.done():
            self.answer.set_result(self.outcomes)

    def fail(self, error: ReidError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher:
    """Runs the network in a thread of its own; belongs to one event loop.

    Args:
        embedder: runs a batch.
        max_batch: most images of one run.
        max_queue: most images that wait while a run is under way.
        max_queue_seconds: longest a caller waits for the run that takes their first image.
        max_wait_ms: how long an unfilled batch waits for company; 0 suits nearly always.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = 32,
        max_queue: int = 512,
        max_queue_seconds: float = math.inf,
        max_wait_ms: float = 0.0,
    ) -> None:
        if max_batch < 1 or max_queue < 1 or max_wait_ms < 0:
            raise ValueError(
                f"max_batch {max_batch} and max_queue {max_queue} must be at least 1, "
                f"max_wait_ms {max_wait_ms} at least 0"
            )
        self._embedder = embedder
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._max_queue_seconds = max_queue_seconds
        self._max_wait = max_wait_ms / 1000.0
        self._queue: deque[_Call] = deque()
        self._queued = 0
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "network", initializer=lower_priority)
        self._closing = False
        self._pace = Pace()
        self._free_at = 0.0  # when the run under way should end, in the event loop's time
        self._runs = 0
        self._images = 0

    @property
    def max_queue_seconds(self) -> float:
        """Longest a caller waits for the run that takes their first image."""
        return self._max_queue_seconds

    async def submit(
        self, images: Iterable[Image], *, waited: float = 0.0, urgent: bool = False
    ) -> list[Outcome]:
        """Embed images together with those of other callers; long lists take several runs.

        The waiting images of a caller who cancels the call, or who is gone according to
        :mod:`service.machine.disconnect`, leave the queue.

        Args:
            images: N images (H, W, 3) uint8 RGB at the model's input size.
            waited: seconds they have waited elsewhere already.
            urgent: take the next run, however long the queue is; for probes.

        Returns:
            N entries in the order of the images: a (D,) float32 unit row, or what went wrong with
            this image alone.

        Raises:
            Overloaded: the queue cannot take all N, or their turn would come, or has come, too
                late; none was embedded.
            TooLarge: not even an empty queue could take all N.
            Unavailable: the service is shutting down, or the client has disconnected.
            ValueError: an image has another dtype or shape.
        """
        images = list(images)
        for image in images:
            check_batch(image[None], self._embedder.manifest)
        if urgent:
            self._refuse_when_closing()
        else:
            self.admit(len(images), waited=waited)
        if not images:
            return []
        return await self._wait_for(images, self._max_queue_seconds - waited, urgent=urgent)

    def admit(self, count: int, *, coming: int = 0, waited: float = 0.0) -> None:
        """Refuse images that would have to wait too long, before any work is done for them.

        Args:
            count: how many want to enter the queue.
            coming: images that will enter it before them.
            waited: seconds they will have waited elsewhere when they enter.

        Raises:
            Overloaded: the queue cannot take all of them, or their turn would come too late.
            TooLarge: not even an empty queue could take them.
            Unavailable: the service is shutting down.
        """
        self._refuse_when_closing()
        if count > self._max_queue:
            raise TooLarge(f"{count} images at once: at most {self._max_queue} can wait")
        ahead = self._queued + coming
        wait = waited + self._expected_wait(ahead)
        retry_after = self._retry_after(wait)
        if ahead + count > self._max_queue:
            raise Overloaded(
                f"{ahead} images wait already: {count} more would exceed {self._max_queue}",
                retry_after=retry_after,
            )
        if wait > _ADMITTED * self._max_queue_seconds:
            raise Overloaded(
                f"{ahead} images wait already: another would wait {wait:.1f} s, and "
                f"{_ADMITTED * self._max_queue_seconds:g} s is the limit",
                retry_after=retry_after,
            )

    async def close(self) -> None:
        """Refuse new images, finish those that wait, and end the thread."""
        self._closing = True
        if self._runner is not None:
            # shielded: whoever gives up waiting must not take the answers of others with them
            await asyncio.shield(self._runner)
        self._thread.shutdown()

    def stats(self) -> BatcherStats:
        """Counts at this moment; safe to call from any thread."""
        return BatcherStats(self._queued, self._runs, self._images, self._pace.images_per_second)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise Unavailable("the service is shutting down", retry_after=5)

    def _expected_wait(self, ahead: int) -> float:
        """Seconds until the run starts that takes an image with so many before it."""
        rate = self._pace.images_per_second
        if not rate:
            return 0.0
        before = ahead // self._max_batch * self._max_batch  # the rest shares its run
        current = max(0.0, self._free_at - time.monotonic())
        return current + before / rate

    def _retry_after(self, wait: float) -> int:
        # Whoever waits now is answered or refused by then, so nobody has to come back later.
        return max(1, math.ceil(min(wait, self._max_queue_seconds)))

    async def _wait_for(
        self, images: Sequence[Image], patience: float, *, urgent: bool
    ) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        call = _Call(images, loop.create_future())
        departure = current_disconnect()
        expiry = None
        if patience < math.inf:
            expiry = loop.call_later(max(0.0, patience), self._expire, call)

        def leave(_departure: asyncio.Future[None]) -> None:
            call.fail(Unavailable("the client has disconnected"))

        if departure is not None:
            departure.add_done_callback(leave)
        self._enter(call, urgent=urgent)
        try:
            return await call.answer
        finally:
            self._take_out(call)
            if expiry is not None:
                expiry.cancel()
            if departure is not None:
                departure.remove_done_callback(leave)

    def _enter(self, call: _Call, *, urgent: bool) -> None:
        if urgent:
            self._queue.appendleft(call)
        else:
            self._queue.append(call)
        self._queued += call.waiting
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run_until_empty())

    def _take_out(self, call: _Call) -> None:
        if call in self._queue:
            self._queue.remove(call)
            self._queued -= call.waiting

    def _expire(self, call: _Call) -> None:
        if call.taken:  # its turn has come: what is begun is finished
            return
        call.fail(
            Overloaded(
                f"no run took the image within {self._max_queue_seconds:g} s",
                retry_after=self._retry_after(self._expected_wait(self._queued)),
            )
        )

    async def _run_until_empty(self) -> None:
        # No await lies between the last look at the queue and forgetting the task, so an image is
        # either seen here or starts the next task.
        begun = time.monotonic()
        try:
            while self._queue:
                if self._max_wait and self._queued < self._max_batch:
                    await asyncio.sleep(self._max_wait)
                batch = self._next_batch()
                if batch:
                    await self._run(batch)
                    # From the end of the run before: the pause between two is part of the pace.
                    self._pace.count(len(batch), time.monotonic() - begun)
                begun = time.monotonic()
        finally:
            self._runner = None

    def _next_batch(self) -> list[tuple[_Call, Image]]:
        batch: list[tuple[_Call, Image]] = []
        while self._queue and len(batch) < self._max_batch:
            call = self._queue[0]
            if call.answer.done():  # refused or left a moment ago
                self._take_out(call)
                continue
            images = call.take(self._max_batch - len(batch))
            self._queued -= len(images)
            batch += [(call, image) for image in images]
            if not call.waiting:
                self._queue.popleft()
        return batch

    async def _run(self, batch: Sequence[tuple[_Call, Image]]) -> None:
        loop = asyncio.get_running_loop()
        self._free_at = time.monotonic() + self._pace.seconds_of(len(batch))
        images = [image for _, image in batch]
        try:
            outcomes = await loop.run_in_executor(self._thread, self._embed, images)
        except Exception as error:  # noqa: BLE001 - its callers must get an answer
            outcomes = [_as_reid_error(error)] * len(batch)
        self._runs += 1
        self._images += len(batch)
        for (call, _), outcome in zip(batch, outcomes, strict=True):
            call.add(outcome)

    def _embed(self, images: Sequence[Image]) -> list[Outcome]:
        """Embed a batch; where that fails, its halves, so that a poisoned image fails alone."""
        try:
            rows = self._embedder.embed(np.stack(images))
            return [row for row, _ in zip(rows, images, strict=True)]
        except Exception as error:  # noqa: BLE001 - its callers must get an answer
            if len(images) == 1:
                return [_as_reid_error(error)]
        middle = len(images) // 2
        return self._embed(images[:middle]) + self._embed(images[middle:])


class Pace:
    """How fast the latest runs were; large ones weigh more, since a full queue makes them."""

    def __init__(self) -> None:
        self._images = 0.0
        self._seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """The measured rate; 0 before the first run."""
        return self._images / max(self._seconds, 1e-9)

    def count(self, images: int, seconds: float) -> None:
        """Add a run of so many images that took so long."""
        self._images = _MEMORY * self._images + images
        self._seconds = _MEMORY * self._seconds + seconds

    def seconds_of(self, images: int) -> float:
        """How long so many images should take; 0 before the first run."""
        rate = self.images_per_second
        return images / rate if rate else 0.0


def _as_reid_error(error: Exception) -> ReidError:
    if isinstance(error, ReidError):
        return error
    logger.error("the network failed", exc_info=error)
    return Unavailable("the network failed on this image; the log says why")
