"""Uploaded files in, embeddings out: decoded in threads, embedded in shared batches."""

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

from service.embedding.batching import Batcher, Pace
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits, decode
from service.errors import InvalidInput, Overloaded, ReidError, Unavailable
from service.machine.disconnect import current_disconnect
from service.machine.processors import lower_priority
from service.machine.stopwatch import Stopwatch
from service.metrics import Metrics
from service.model.manifest import Manifest

Embedding = NDArray[np.float32]
Image = NDArray[np.uint8]


class Intake:
    """Turns uploads into embeddings; a bad upload costs only its own.

    Args:
        batcher: runs the network.
        manifest: input size and resize filter of the network.
        limits: what is refused before decoding.
        threads: images decoded at the same time.
        metrics: where images are counted.
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
        """Embed uploads.

        Args:
            uploads: N files.
            stopwatch: measures the stages ``decode`` and ``embed``.

        Returns:
            N entries in the order of the uploads: a (D,) float32 unit row, or what is wrong with
            that file.

        Raises:
            Overloaded: the turn of the images would come, or has come, too late; none was embedded.
            TooLarge: more images than could ever wait.
            Unavailable: the network failed for reasons that lie not in the images, the service is
                shutting down, or the client has disconnected.
        """
        self.admit(len(uploads))
        turn = _Turn(time.monotonic(), self._batcher.max_queue_seconds, current_disconnect())
        with stopwatch.stage("decode"):
            decoded = await self._decode_all(uploads, turn)
        _raise_if_the_service_is_at_fault(decoded)
        images = [image for image in decoded if not isinstance(image, ReidError)]
        with stopwatch.stage("embed"):
            embedded = iter(await self._batcher.submit(images, waited=turn.waited))
        outcome = [image if isinstance(image, ReidError) else next(embedded) for image in decoded]
        _raise_if_the_service_is_at_fault(outcome)
        return outcome

    def admit(self, count: int = 1) -> None:
        """Refuse images that would have to wait too long, before any work is done for them.

        Args:
            count: how many there are.

        Raises:
            Overloaded: their turn would come too late.
            TooLarge: more than could ever wait.
            Unavailable: the service is shutting down.
        """
        undecoded = max(0, self._decoding - self._threads)
        wait = self._pace.seconds_of(undecoded) / self._threads
        self._batcher.admit(count, coming=self._decoding, waited=wait)

    async def probe(self) -> None:
        """Embed a blank image in the next run. Raises what keeps the network from it."""
        (outcome,) = await self._batcher.submit([self._blank], urgent=True)
        if isinstance(outcome, ReidError):
            raise outcome

    def close(self) -> None:
        """Wait for running decodes and end the threads."""
        self._pool.shutdown()

    async def _decode_all(
        self, uploads: Sequence[EncodedImage], turn: _Turn
    ) -> list[Image | ReidError]:
        self._decoding += len(uploads)
        try:
            return await asyncio.gather(*(self._decode_one(upload, turn) for upload in uploads))
        finally:
            self._decoding -= len(uploads)

    async def _decode_one(self, upload: EncodedImage, turn: _Turn) -> Image | ReidError:
        loop = asyncio.get_running_loop()
        try:
            image, seconds = await loop.run_in_executor(
                self._pool, self._decode_in_turn, upload, turn
            )
        except ReidError as error:
            if error.status < 500:
                self._metrics.images.labels("failed").inc()
            return error
        self._pace.count(1, seconds)
        self._metrics.images.labels("decoded").inc()
        return image

    def _decode_in_turn(self, upload: EncodedImage, turn: _Turn) -> tuple[Image, float]:
        turn.begin()
        started = time.monotonic()
        return self._decode(upload.data), time.monotonic() - started


@dataclass(slots=True)
class _Turn:
    """The wait of one request's images for the first of them to be decoded."""

    arrived: float
    limit: float
    departure: asyncio.Future[None] | None
    waited: float = 0.0
    begun: bool = False

    def begin(self) -> None:
        """Raises where it is too late to begin; what is begun is finished."""
        if self.departure is not None and self.departure.done():
            raise Unavailable("the client has disconnected")
        if self.begun:
            return
        self.waited = time.monotonic() - self.arrived
        if self.waited > self.limit:
            raise Overloaded(f"no thread decoded the image within {self.limit:g} s")
        self.begun = True


def require_one_usable(
    uploads: Sequence[EncodedImage], outcome: Sequence[Embedding | ReidError]
) -> None:
    """Refuse a request none of whose images could be embedded.

    Args:
        uploads: the N files.
        outcome: what :meth:`Intake.embed` made of them.

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
