"""Gather the images of concurrent requests into shared runs of the network.

A run starts as soon as the network is free and takes all images that are waiting then. An idle
service adds no delay; a busy one fills its batches. (Triton's dynamic batching with zero queue
delay works the same way.) The wait is bounded: a request that would wait too long, judged by the
measured rate, is rejected on arrival, and one that does wait too long is rejected then.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.embedding.batch_queue import BatchQueue, Call, Image, Outcome
from service.embedding.embedder import check_batch
from service.embedding.pace import Pace
from service.errors import Overloaded, ReidError, TooLarge, Unavailable
from service.machine.disconnect import current_disconnect
from service.machine.processors import lower_priority
from service.model.manifest import NetworkRecord

_ADMITTED = 0.5  # of the longest wait; the other half allows for errors of the estimate under load

logger = logging.getLogger(__name__)

Run = Callable[[NDArray[np.uint8]], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class BatcherStats:
    """Counts at one moment.

    Attributes:
        queued: images that wait for a run.
        runs: finished runs of the network.
        images: images in these runs.
        images_per_second: rate of the latest runs; 0 before the first one.
    """

    queued: int
    runs: int
    images: int
    images_per_second: float


class Batcher:
    """Runs the network in its own thread; belongs to one event loop.

    Args:
        run: runs the network on a batch (N, H, W, 3) uint8 RGB and returns an array per image.
        manifest: states the size that images must have.
        max_batch: most images per run.
        max_queue: most images that may wait while a run is in progress.
        max_queue_seconds: longest time until a run takes the first image of a call.
        max_wait_ms: how long an unfilled batch waits for more images; 0 is nearly always best.
    """

    def __init__(
        self,
        run: Run,
        manifest: NetworkRecord,
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
        self._run_network = run
        self._manifest = manifest
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._max_queue_seconds = max_queue_seconds
        self._max_wait = max_wait_ms / 1000.0
        self._queue = BatchQueue()
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "network", initializer=lower_priority)
        self._closing = False
        self._pace = Pace()
        self._free_at = 0.0  # when the current run should end, by the monotonic clock, or 0
        self._runs = 0
        self._images = 0

    @property
    def max_queue_seconds(self) -> float:
        """Longest time until a run takes the first image of a call."""
        return self._max_queue_seconds

    async def submit(
        self, images: Iterable[Image], *, waited: float = 0.0, urgent: bool = False
    ) -> list[Outcome]:
        """Run the network on images together with those of others; long lists take several runs.

        If the call is cancelled, or its client disconnects (:mod:`service.machine.disconnect`), its
        waiting images leave the queue.

        Args:
            images: N images (H, W, 3) uint8 RGB at the model's input size.
            waited: seconds they have already waited elsewhere.
            urgent: take the next run, however long the queue is; for probes.

        Returns:
            N entries in the order of the images: the network's array for that image, such as a
            (D,) unit row, or the error of that image.

        Raises:
            Overloaded: the queue cannot take all N images, or they would wait, or did wait, too
                long. The network saw none of them.
            TooLarge: even an empty queue could not take all N.
            Unavailable: the service is shutting down, or the client has disconnected.
            ValueError: an image has the wrong dtype or shape.
        """
        images = list(images)
        for image in images:
            check_batch(image[None], self._manifest)
        if urgent:
            self._require_open()
        else:
            self.admit(len(images), waited=waited)
        if not images:
            return []
        return await self._wait_for(images, self._max_queue_seconds - waited, urgent=urgent)

    def admit(self, count: int, *, coming: int = 0, waited: float = 0.0) -> None:
        """Reject images that would wait too long, before any work is done for them.

        Args:
            count: number of images that want to enter the queue.
            coming: images that will enter it before them.
            waited: seconds they will have waited elsewhere when they enter.

        Raises:
            Overloaded: the queue cannot take all of them, or they would wait too long.
            TooLarge: even an empty queue could not take them.
            Unavailable: the service is shutting down.
        """
        self._require_open()
        if count > self._max_queue:
            raise TooLarge(f"{count} images at once: the queue holds at most {self._max_queue}")
        ahead = self._queue.images + coming
        wait = waited + self._expected_wait(ahead)
        retry_after = self._retry_after(wait)
        if ahead + count > self._max_queue:
            raise Overloaded(
                f"{ahead} images are waiting: {count} more would exceed {self._max_queue}",
                retry_after=retry_after,
            )
        if wait > _ADMITTED * self._max_queue_seconds:
            raise Overloaded(
                f"{ahead} images are waiting: one more would wait {wait:.1f} s, and the limit is "
                f"{_ADMITTED * self._max_queue_seconds:g} s",
                retry_after=retry_after,
            )

    async def close(self) -> None:
        """Reject new images, finish those that wait, and end the thread."""
        self._closing = True
        if self._runner is not None:
            # Shielded, so that a caller who stops waiting does not cancel the answers of others.
            await asyncio.shield(self._runner)
        self._thread.shutdown()

    def stats(self) -> BatcherStats:
        """Counts at this moment; safe to call from any thread."""
        return BatcherStats(
            self._queue.images, self._runs, self._images, self._pace.images_per_second
        )

    def _require_open(self) -> None:
        if self._closing:
            raise Unavailable("the service is shutting down", retry_after=5)

    def _expected_wait(self, ahead: int) -> float:
        """Seconds until a run takes an image that has this many before it."""
        rate = self._pace.images_per_second
        if not rate:
            return 0.0
        before = ahead // self._max_batch * self._max_batch  # the others share its run
        current = max(0.0, self._free_at - time.monotonic())
        return current + before / rate

    def _retry_after(self, wait: float) -> int:
        # By then every request now in the queue has been answered or rejected, so waiting longer is
        # pointless.
        return max(1, math.ceil(min(wait, self._max_queue_seconds)))

    async def _wait_for(
        self, images: Sequence[Image], patience: float, *, urgent: bool
    ) -> list[Outcome]:
        loop = asyncio.get_running_loop()
        call = Call(images, loop.create_future())
        disconnect = current_disconnect()
        expiry = None
        if patience < math.inf:
            expiry = loop.call_later(max(0.0, patience), self._expire, call)

        def leave(_disconnect: asyncio.Future[None]) -> None:
            call.fail(Unavailable("the client has disconnected"))

        if disconnect is not None:
            disconnect.add_done_callback(leave)
        self._enter(call, urgent=urgent)
        try:
            return await call.answer
        finally:
            self._queue.remove(call)
            if expiry is not None:
                expiry.cancel()
            if disconnect is not None:
                disconnect.remove_done_callback(leave)

    def _enter(self, call: Call, *, urgent: bool) -> None:
        self._queue.add(call, urgent=urgent)
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run_until_empty())

    def _expire(self, call: Call) -> None:
        if call.taken:  # a run has taken its first image, so it will be finished
            return
        call.fail(
            Overloaded(
                f"the network did not take the image within {self._max_queue_seconds:g} s",
                retry_after=self._retry_after(self._expected_wait(self._queue.images)),
            )
        )

    async def _run_until_empty(self) -> None:
        # No await lies between the last look at the queue and forgetting the task, so a new image
        # is either seen here or starts the next task.
        begun = time.monotonic()
        try:
            while self._queue:
                if self._max_wait and self._queue.images < self._max_batch:
                    await asyncio.sleep(self._max_wait)
                batch = self._queue.take(self._max_batch)
                if batch:
                    await self._run(batch)
                    # Measured from the end of the previous run, so that it includes the pause.
                    self._pace.count(len(batch), time.monotonic() - begun)
                begun = time.monotonic()
        finally:
            self._runner = None

    async def _run(self, batch: Sequence[tuple[Call, Image]]) -> None:
        loop = asyncio.get_running_loop()
        self._free_at = time.monotonic() + self._pace.seconds_of(len(batch))
        images = [image for _, image in batch]
        try:
            outcomes = await loop.run_in_executor(self._thread, self._answer, images)
        except Exception as error:  # noqa: BLE001 - the callers must get an answer
            outcomes = [_as_reid_error(error)] * len(batch)
        self._free_at = 0.0  # a run that ended early must not make the next image seem to wait
        self._runs += 1
        self._images += len(batch)
        for (call, _), outcome in zip(batch, outcomes, strict=True):
            call.add(outcome)

    def _answer(self, images: Sequence[Image]) -> list[Outcome]:
        """Run a batch; if that fails, run its halves, so that only the faulty image fails."""
        try:
            rows = self._run_network(np.stack(images))
            return [row for row, _ in zip(rows, images, strict=True)]
        except Exception as error:  # noqa: BLE001 - the callers must get an answer
            if len(images) == 1:
                return [_as_reid_error(error)]
        middle = len(images) // 2
        return self._answer(images[:middle]) + self._answer(images[middle:])


def _as_reid_error(error: Exception) -> ReidError:
    if isinstance(error, ReidError):
        return error
    logger.error("the network failed", exc_info=error)
    return Unavailable("the network failed on this image; see the service's log")
