"""Gathers the images of concurrent requests into shared runs of the network.

A run starts as soon as the network is free and takes whatever waits by then, so an idle service
adds no delay and a busy one fills its batches by itself (the semantics of Triton's dynamic
batching with zero queue delay).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.embedder import Embedder, check_batch
from service.errors import Overloaded, ReidError, TooLarge, Unavailable

Image = NDArray[np.uint8]
Outcome = NDArray[np.float32] | ReidError

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


@dataclass(frozen=True, slots=True)
class _Waiting:
    image: Image
    outcome: asyncio.Future[Outcome]


class Batcher:
    """Runs the network in a thread of its own; belongs to one event loop.

    Args:
        embedder: runs a batch.
        max_batch: most images of one run.
        max_queue: most images that wait while a run is under way.
        max_wait_ms: how long an unfilled batch waits for company; 0 suits nearly always.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = 32,
        max_queue: int = 512,
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
        self._max_wait = max_wait_ms / 1000.0
        self._queue: deque[_Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._closing = False
        self._runs = 0
        self._images = 0
        self._rate = 0.0

    async def submit(self, images: Iterable[Image]) -> list[Outcome]:
        """Embed images together with those of other callers; long lists take several runs.

        A cancelled call takes its waiting images out of the queue.

        Args:
            images: N images (H, W, 3) uint8 RGB at the model's input size.

        Returns:
            N entries in the order of the images: a (D,) float32 unit row, or what went wrong with
            this image alone.

        Raises:
            Overloaded: the queue cannot take all N; none was queued.
            TooLarge: not even an empty queue could take all N.
            Unavailable: the service is shutting down.
            ValueError: an image has another dtype or shape.
        """
        images = list(images)
        for image in images:
            check_batch(image[None], self._embedder.manifest)
        self._admit(len(images))
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(image, loop.create_future()) for image in images]
        self._queue.extend(waiting)
        if self._runner is None and waiting:
            self._runner = loop.create_task(self._run_until_empty())
        return await asyncio.gather(*(entry.outcome for entry in waiting))

    async def close(self) -> None:
        """Refuse new images, finish those that wait, and end the thread."""
        self._closing = True
        if self._runner is not None:
            # shielded: whoever gives up waiting must not take the answers of others with them
            await asyncio.shield(self._runner)
        self._thread.shutdown()

    def stats(self) -> BatcherStats:
        """Counts at this moment; safe to call from any thread."""
        return BatcherStats(len(self._queue), self._runs, self._images, self._rate)

    def _admit(self, count: int) -> None:
        if self._closing:
            raise Unavailable("the service is shutting down", retry_after=5)
        if count > self._max_queue:
            raise TooLarge(f"{count} images at once: at most {self._max_queue} can wait")
        waiting = len(self._queue)
        if waiting + count > self._max_queue:
            seconds = math.ceil(waiting / self._rate) if self._rate else 1
            raise Overloaded(
                f"{waiting} images wait already: {count} more would exceed {self._max_queue}",
                retry_after=max(1, seconds),
            )

    async def _run_until_empty(self) -> None:
        # No await lies between the last look at the queue and forgetting the task, so an image is
        # either seen here or starts the next task.
        try:
            while self._queue:
                if self._max_wait and len(self._queue) < self._max_batch:
                    await asyncio.sleep(self._max_wait)
                batch = self._next_batch()
                if batch:
                    await self._run(batch)
        finally:
            self._runner = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queue and len(batch) < self._max_batch:
            entry = self._queue.popleft()
            if not entry.outcome.done():  # its caller may have gone
                batch.append(entry)
        return batch

    async def _run(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        images = [entry.image for entry in batch]
        started = time.perf_counter()
        outcomes = await loop.run_in_executor(self._thread, self._embed, images)
        self._count(len(batch), time.perf_counter() - started)
        for entry, outcome in zip(batch, outcomes, strict=True):
            if not entry.outcome.done():
                entry.outcome.set_result(outcome)

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

    def _count(self, images: int, seconds: float) -> None:
        rate = images / max(seconds, 1e-9)
        self._rate = _MEMORY * self._rate + (1.0 - _MEMORY) * rate if self._runs else rate
        self._runs += 1
        self._images += images


def _as_reid_error(error: Exception) -> ReidError:
    if isinstance(error, ReidError):
        return error
    logger.error("the network failed", exc_info=error)
    return Unavailable("the network failed on this image; the log says why")
