"""Turn image files into embeddings: decode in threads, embed in shared batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.embedding.batching import Batcher
from service.embedding.decoding import Decoders, raise_if_the_service_is_at_fault
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits, decode
from service.errors import InvalidInput, ReidError
from service.machine.stopwatch import Stopwatch
from service.metrics import Metrics
from service.model.manifest import Manifest

Embedding = NDArray[np.float32]


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
        self._decoders = Decoders(threads, metrics)
        self._decode = partial(
            decode,
            height=manifest.input_height,
            width=manifest.input_width,
            resize=manifest.resize,
            limits=limits,
        )
        self._blank = np.zeros((manifest.input_height, manifest.input_width, 3), dtype=np.uint8)

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
        longest = self._batcher.max_queue_seconds
        with stopwatch.stage("decode"):
            decoded, waited = await self._decoders.decode(uploads, self._decode, longest)
        images = [image for image in decoded if not isinstance(image, ReidError)]
        with stopwatch.stage("embed"):
            embedded = iter(await self._batcher.submit(images, waited=waited))
        outcome = [image if isinstance(image, ReidError) else next(embedded) for image in decoded]
        raise_if_the_service_is_at_fault(outcome)
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
        decoders = self._decoders
        self._batcher.admit(count, coming=decoders.coming, waited=decoders.expected_wait)

    async def probe(self) -> None:
        """Embed a blank image in the next run; raises the error if that fails."""
        (outcome,) = await self._batcher.submit([self._blank], urgent=True)
        if isinstance(outcome, ReidError):
            raise outcome

    def close(self) -> None:
        """Wait for images that are being decoded, then end the threads."""
        self._decoders.close()


def require_one_usable(uploads: Sequence[EncodedImage], outcome: Sequence[object]) -> None:
    """Reject a request if none of its images could be used.

    Args:
        uploads: N files.
        outcome: for each of them a result, or its error.

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
