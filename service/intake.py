"""Uploaded files in, embeddings out: decoded in threads, embedded in shared batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.artifact import Manifest
from service.batching import Batcher
from service.errors import InvalidInput, ReidError
from service.imaging import ImageLimits, decode
from service.metrics import Metrics
from service.stopwatch import Stopwatch
from service.upload import Upload

Embedding = NDArray[np.float32]


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
        self._decode = partial(
            decode,
            height=manifest.input_height,
            width=manifest.input_width,
            resize=manifest.resize,
            limits=limits,
        )
        self._blank = np.zeros((manifest.input_height, manifest.input_width, 3), dtype=np.uint8)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._metrics = metrics

    async def embed(
        self, uploads: Sequence[Upload], stopwatch: Stopwatch
    ) -> list[Embedding | ReidError]:
        """Embed uploads.

        Args:
            uploads: N files.
            stopwatch: measures the stages ``decode`` and ``embed``.

        Returns:
            N entries in the order of the uploads: a (D,) float32 unit row, or what is wrong with
            that file.

        Raises:
            Overloaded: the network's queue is full; nothing was embedded.
            Unavailable: the network failed for reasons that lie not in the images.
        """
        with stopwatch.stage("decode"):
            decoded = await asyncio.gather(*map(self._decode_one, uploads))
        images = [image for image in decoded if not isinstance(image, ReidError)]
        with stopwatch.stage("embed"):
            embedded = iter(await self._batcher.submit(images) if images else ())
        outcome = [image if isinstance(image, ReidError) else next(embedded) for image in decoded]
        _raise_if_the_service_is_at_fault(outcome)
        return outcome

    async def probe(self) -> None:
        """Embed a blank image through the same queue. Raises what a request would meet."""
        (outcome,) = await self._batcher.submit([self._blank])
        if isinstance(outcome, ReidError):
            raise outcome

    def close(self) -> None:
        """Wait for running decodes and end the threads."""
        self._pool.shutdown()

    async def _decode_one(self, upload: Upload) -> NDArray[np.uint8] | ReidError:
        loop = asyncio.get_running_loop()
        try:
            image = await loop.run_in_executor(self._pool, self._decode, upload.data)
        except ReidError as error:
            self._metrics.images.labels("failed").inc()
            return error
        self._metrics.images.labels("decoded").inc()
        return image


def require_one_usable(uploads: Sequence[Upload], outcome: Sequence[Embedding | ReidError]) -> None:
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


def _raise_if_the_service_is_at_fault(outcome: Sequence[Embedding | ReidError]) -> None:
    for entry in outcome:
        if isinstance(entry, ReidError) and entry.status >= 500:
            raise entry
