"""Turn image files into embeddings: decode in threads, embed in shared batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.embedding.batching import Batcher
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits, decode
from service.embedding.pace import Pace
from service.errors import InvalidInput, Overloaded, ReidError, Unavailable
from service.machine.disconnect import current_disconnect
from service.machine.processors import lower_priority
from service.machine.stopwatch import Stopwatch
from service.metrics import Metrics
from service.model.manifest import Manifest

Embedding = NDArray[np.float32]
Image = NDArray[np.uint8]


class Intake:
    """Turns image files into embeddings; an unusable file does not affect the others.

    Args:
        batcher: runs the network.
        manifest: the network's input size and resize filter.
        limits: limits of an image file, checked before decoding.
        threads: number of images decoded at the same time.
        metrics: counts images.
    """

    def __init__(
        self,
        batcher: Batcher,
        manifest: Manifest,
        limits: ImageLimits,
        threads: int,
        metrics: Metrics,
    ) -> None:
        self._batcher = batcher
        self._threads = threads
        self._decode = partial(
            decode,
            height=manifest.input_height,
            width=manifest.input_width,
            resize=manifest.resize,
            limits=limits,
        )
        self._blank = np.zeros((manifest.input_height, manifest.input_width, 3), dtype=np.uint8)
        self._pool = ThreadPoolExecutor(threads, "decode", initializer=lower_priority)
        self._pace = Pace()
        self._decoding = 0
        self._metrics = metrics

    async def embed(
        self, uploads: Sequence[EncodedImage], stopwatch: Stopwatch
    ) -> list[Embedding | ReidError]:
        """Decode and embed image files.

        Args:
            uploads: N files.
            stopwatch: measures the stages ``decode`` and ``embed``.

        Returns:
            N entries in the order of the files: a (D,) float32 unit row, or the error of that file.

        Raises:
            Overloaded: the images would wait, or did wait, too long. No image was embedded.
            TooLarge: even an empty queue could not take all N images.
            Unavailable: the network failed for a reason unrelated to the images, the service is
                shutting down, or the client has disconnected.
        """
        self.admit(len(uploads))
        wait = _Wait(time.monotonic(), self._batcher.max_queue_seconds, current_disconnect())
        with stopwatch.stage("decode"):
            decoded = await self._decode_all(uploads, wait)
        _raise_if_the_service_is_at_fault(decoded)
        images = [image for image in decoded if not isinstance(image, ReidError)]
        with stopwatch.stage("embed"):
            embedded = iter(await self._batcher.submit(images, waited=wait.seconds))
        outcome = [image if isinstance(image, ReidError) else next(embedded) for image in decoded]
        _raise_if_the_service_is_at_fault(outcome)
        return outcome

    def admit(self, count: int = 1) -> None:
        """Reject images that would wait too long, before any work is done for them.

        Args:
            count: number of images.

        Raises:
            Overloaded: they would wait too long.
            TooLarge: even an empty queue could not take them.
            Unavailable: the service is shutting down.
        """
        undecoded = max(0, self._decoding - self._threads)
        wait = self._pace.seconds_of(undecoded) / self._threads
        self._batcher.admit(count, coming=self._decoding, waited=wait)

    async def probe(self) -> None:
        """Embed a blank image in the next run; raises the error if that fails."""
        (outcome,) = await self._batcher.submit([self._blank], urgent=True)
        if isinstance(outcome, ReidError):
            raise outcome

    def close(self) -> None:
        """Wait for images that are being decoded, then end the threads."""
        self._pool.shutdown()

    async def _decode_all(
        self, uploads: Sequence[EncodedImage], wait: _Wait
    ) -> list[Image | ReidError]:
        self._decoding += len(uploads)
        try:
            return await asyncio.gather(*(self._decode_one(upload, wait) for upload in uploads))
        finally:
            self._decoding -= len(uploads)

    async def _decode_one(self, upload: EncodedImage, wait: _Wait) -> Image | ReidError:
        loop = asyncio.get_running_loop()
        try:
            image, seconds = await loop.run_in_executor(
                self._pool, self._decode_timed, upload, wait
            )
        except ReidError as error:
            if error.status < 500:
                self._metrics.images.labels("failed").inc()
            return error
        self._pace.count(1, seconds)
        self._metrics.images.labels("decoded").inc()
        return image

    def _decode_timed(self, upload: EncodedImage, wait: _Wait) -> tuple[Image, float]:
        wait.end()
        started = time.monotonic()
        return self._decode(upload.data), time.monotonic() - started


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


def require_one_usable(
    uploads: Sequence[EncodedImage], outcome: Sequence[Embedding | ReidError]
) -> None:
    """Reject a request if none of its images could be embedded.

    Args:
        uploads: N files.
        outcome: the answer of :meth:`Intake.embed` for them.

    Raises:
        ReidError: the only image's error, or InvalidInput naming every image and its error.
    """
    errors = [entry for entry in outcome if isinstance(entry, ReidError)]
    if len(errors) < len(outcome):
        return
    if len(errors) == 1:
        raise errors[0]
    reasons = "; ".join(
        f"image {index} ({upload.file}): {error}"
        for index, (upload, error) in enumerate(zip(uploads, errors, strict=True))
    )
    raise InvalidInput(f"none of the {len(errors)} images is usable: {reasons}")


def _raise_if_the_service_is_at_fault(outcome: Sequence[NDArray[Any] | ReidError]) -> None:
    for entry in outcome:
        if isinstance(entry, ReidError) and entry.status >= 500:
            raise entry
