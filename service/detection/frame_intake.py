"""Turn image files into persons: decode in threads, run the detector in shared batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.detection.detector import Found
from service.detection.frames import Frame, Person, persons_on, read_frame
from service.embedding.batching import Batcher
from service.embedding.decoding import Decoders, raise_if_the_service_is_at_fault
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits
from service.errors import ReidError, TooLarge
from service.machine.executors import Threads
from service.machine.stopwatch import Stopwatch
from service.model.detector_manifest import DetectorManifest
from service.values.tiling import Grid


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """What was found on a frame.

    Attributes:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        persons: the highest score first.
    """

    width: int
    height: int
    persons: list[Person]


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """How to look at frames.

    Attributes:
        grid: tiles in addition to the whole frame.
        score: persons have a score above it; the manifest's if None.
    """

    grid: Grid
    score: float | None = None


class FrameIntake:
    """Finds the persons on image files; an unusable file does not affect the others.

    Args:
        batcher: runs the detector.
        manifest: the network's input size and thresholds.
        limits: limits of an image file, checked before decoding.
        decoders: decode the files.
        threads: join what was found.
        most_views: how many pictures of frames the queue can hold.
    """

    def __init__(
        self,
        batcher: Batcher,
        manifest: DetectorManifest,
        limits: ImageLimits,
        decoders: Decoders,
        threads: Threads,
        most_views: int,
    ) -> None:
        self._batcher = batcher
        self._manifest = manifest
        self._limits = limits
        self._decoders = decoders
        self._threads = threads
        self._most_views = most_views
        self._coming = 0  # pictures of the frames that are being decoded

    @property
    def queued(self) -> int:
        """How many pictures of frames wait for the network."""
        return self._batcher.stats().queued

    async def find(
        self, uploads: Sequence[EncodedImage], options: FrameOptions, stopwatch: Stopwatch
    ) -> list[SeenFrame | ReidError]:
        """Find the persons on image files.

        Args:
            uploads: N files.
            options: how to look at them.
            stopwatch: measures the stages ``decode`` and ``detect``.

        Returns:
            N entries in the order of the files: what was found, or the error of that file.

        Raises:
            Overloaded: the frames would wait, or did wait, too long. Nothing was looked for.
            TooLarge: even an empty queue could not take them.
            Unavailable: the network failed for a reason unrelated to the images, the service is
                shutting down, or the client has disconnected.
        """
        pictures = len(uploads) * options.grid.views
        if pictures > self._most_views:
            raise TooLarge(
                f"{len(uploads)} frames, each seen {options.grid.views} times, are {pictures:,} "
                f"pictures: the network's queue holds at most {self._most_views:,}"
            )
        self.admit(pictures)
        self._coming += pictures
        try:
            with stopwatch.stage("decode"):
                decoded, waited = await self._decode(uploads, options.grid)
        finally:
            self._coming -= pictures
        with stopwatch.stage("detect"):
            outcome = await self._detect(decoded, waited, options.score)
        raise_if_the_service_is_at_fault(outcome)
        return outcome

    def admit(self, pictures: int = 1) -> None:
        """Reject frames that would wait too long, before any work is done for them.

        Args:
            pictures: how many pictures of frames the network would see.

        Raises:
            Overloaded: they would wait too long.
            TooLarge: even an empty queue could not take them.
            Unavailable: the service is shutting down.
        """
        self._batcher.admit(pictures, coming=self._coming, waited=self._decoders.expected_wait)

    async def close(self) -> None:
        """Finish the work in progress, then end the threads."""
        await self._batcher.close()
        self._decoders.close()

    async def _decode(
        self, uploads: Sequence[EncodedImage], grid: Grid
    ) -> tuple[list[Frame | ReidError], float]:
        read = partial(read_frame, grid=grid, manifest=self._manifest, limits=self._limits)
        return await self._decoders.decode(uploads, read, self._batcher.max_queue_seconds)

    async def _detect(
        self, decoded: Sequence[Frame | ReidError], waited: float, score: float | None
    ) -> list[SeenFrame | ReidError]:
        frames = [frame for frame in decoded if isinstance(frame, Frame)]
        pictures = [picture for frame in frames for picture in frame.pictures]
        found = iter(await self._batcher.submit(pictures, waited=waited))
        answers = [[next(found) for _ in frame.pictures] for frame in frames]
        least = self._manifest.score if score is None else score
        seen = iter(await self._threads.run(self._join, frames, answers, least))
        return [entry if isinstance(entry, ReidError) else next(seen) for entry in decoded]

    def _join(
        self,
        frames: Sequence[Frame],
        answers: Sequence[Sequence[NDArray[np.float32] | ReidError]],
        score: float,
    ) -> list[SeenFrame | ReidError]:
        return [
            self._seen(frame, answer, score) for frame, answer in zip(frames, answers, strict=True)
        ]

    def _seen(
        self, frame: Frame, answer: Sequence[NDArray[np.float32] | ReidError], score: float
    ) -> SeenFrame | ReidError:
        found: list[Found] = []
        for entry in answer:
            if isinstance(entry, ReidError):
                return entry
            found.append(entry)
        persons = persons_on(frame, found, score, self._manifest.iou)
        return SeenFrame(frame.width, frame.height, persons)
