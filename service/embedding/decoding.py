"""Decode image files in threads; an unusable file does not affect the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.embedding.encoded_image import EncodedImage
from service.embedding.pace import Pace
from service.errors import Overloaded, ReidError, Unavailable
from service.machine.disconnect import current_disconnect
from service.machine.processors import lower_priority
from service.metrics import Metrics

T = TypeVar("T")


class Decoders:
    """Threads that decode image files; belongs to one event loop.

    Args:
        threads: number of files decoded at the same time.
        metrics: counts images.
    """

    def __init__(self, threads: int, metrics: Metrics) -> None:
        self._threads = threads
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(threads, "decode", initializer=lower_priority)
        self._pace = Pace()
        self._coming = 0

    @property
    def coming(self) -> int:
        """How many files are being decoded or wait for it."""
        return self._coming

    @property
    def expected_wait(self) -> float:
        """Seconds until a thread takes another file."""
        return self._pace.seconds_of(max(0, self._coming - self._threads)) / self._threads

    async def decode(
        self, files: Sequence[EncodedImage], read: Callable[[bytes], T], longest: float
    ) -> tuple[list[T | ReidError], float]:
        """Decode image files.

        Args:
            files: N files.
            read: decodes one file; raises a ReidError for an unusable one.
            longest: how long they may wait until the first of them is decoded, in seconds.

        Returns:
            N entries in the order of the files, each decoded or the error of that file; and how
            many seconds they waited.

        Raises:
            Overloaded: they waited too long.
            Unavailable: the client has disconnected.
        """
        return await self.run([partial(read, file.data) for file in files], longest)

    async def run(
        self, tasks: Sequence[Callable[[], T]], longest: float
    ) -> tuple[list[T | ReidError], float]:
        """Decode image files, each in its own way.

        Args:
            tasks: N functions; each decodes one file, or raises a ReidError if it is unusable.
            longest: how long they may wait until the first of them begins, in seconds.

        Returns:
            N entries in the order of the tasks, each its result or its error; and how many seconds
            they waited.

        Raises:
            Overloaded: they waited too long.
            Unavailable: the client has disconnected.
        """
        wait = _Wait(time.monotonic(), longest, current_disconnect())
        self._coming += len(tasks)
        try:
            decoded = await asyncio.gather(*(self._run_one(task, wait) for task in tasks))
        finally:
            self._coming -= len(tasks)
        raise_if_the_service_is_at_fault(decoded)
        return decoded, wait.seconds

    def close(self) -> None:
        """Wait for files that are being decoded, then end the threads."""
        self._pool.shutdown()

    async def _run_one(self, task: Callable[[], T], wait: _Wait) -> T | ReidError:
        def timed() -> tuple[T, float]:
            wait.end()
            started = time.monotonic()
            return task(), time.monotonic() - started

        try:
            image, seconds = await asyncio.get_running_loop().run_in_executor(self._pool, timed)
        except ReidError as error:
            if error.status < 500:
                self._metrics.images.labels("failed").inc()
            return error
        self._pace.count(1, seconds)
        self._metrics.images.labels("decoded").inc()
        return image


@dataclass(slots=True)
class _Wait:
    """How long the images of one request wait until the first of them is decoded.

    Attributes:
        arrived: when the request came, by the monotonic clock.
        limit: longest wait, in seconds.
        disconnect: gets a result if the client disconnects.
        seconds: how long they waited.
        ended: decoding has begun, so the request will be finished.
    """

    arrived: float
    limit: float
    disconnect: asyncio.Future[None] | None
    seconds: float = 0.0
    ended: bool = False

    def end(self) -> None:
        """Begin to decode an image. Raises Overloaded: too late; Unavailable: client gone."""
        if self.disconnect is not None and self.disconnect.done():
            raise Unavailable("the client has disconnected")
        if self.ended:
            return
        self.seconds = time.monotonic() - self.arrived
        if self.seconds > self.limit:
            raise Overloaded(f"the image was not decoded within {self.limit:g} s")
        self.ended = True


def raise_if_the_service_is_at_fault(outcome: Sequence[object]) -> None:
    """Raise the first error that is not about an image.

    Args:
        outcome: results, or errors.

    Raises:
        ReidError: whose status is 500 or higher.
    """
    for entry in outcome:
        if isinstance(entry, ReidError) and entry.status >= 500:
            raise entry
