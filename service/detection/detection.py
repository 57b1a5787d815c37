"""A service's detector: opened when the first frame comes, so that others do not pay for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from service.detection.detector import Detector
from service.detection.frame_intake import FrameIntake
from service.errors import ArtifactError, Unavailable, Unsupported
from service.machine.executors import Threads
from service.model.contract import load_detector
from service.model.detector_manifest import DetectorManifest

log = logging.getLogger(__name__)


class Detection:
    """Provides the intake of frames; belongs to one event loop.

    Args:
        path: the model folder, or a bare ONNX file. If nothing is there, the service has no
            detector.
        open_detector: loads the network of such a path; slow, raises ArtifactError.
        start: connects a loaded network to its queue and its threads.
        threads: load the network.

    Raises:
        ArtifactError: there is a model, and it breaks the contract.
    """

    def __init__(
        self,
        path: Path,
        open_detector: Callable[[Path], Detector],
        start: Callable[[Detector], FrameIntake],
        threads: Threads,
    ) -> None:
        self._path = path
        self._open_detector = open_detector
        self._start = start
        self._threads = threads
        self._opening = asyncio.Lock()
        self._intake: FrameIntake | None = None
        self._closed = False
        self.manifest: DetectorManifest | None = None
        if path.exists():
            self.manifest, _ = load_detector(path)
        else:
            log.info("no detector: %s does not exist", path)

    @property
    def queued(self) -> int:
        """How many pictures of frames wait for the network."""
        return 0 if self._intake is None else self._intake.queued

    def require(self) -> DetectorManifest:
        """The detector's manifest.

        Raises:
            Unsupported: the service has no detector.
        """
        if self.manifest is None:
            raise Unsupported(
                "this service has no detector: set REID_DETECTOR to the folder of one, such as "
                f"models/nanodet-person, and restart it ({self._path.name!r} was not found)"
            )
        return self.manifest

    def admit(self) -> None:
        """Reject a frame that would wait too long, before its form is read.

        Raises:
            Overloaded: the detector's queue is too long.
            Unavailable: the service is shutting down.
        """
        if self._intake is not None:
            self._intake.admit()

    async def intake(self) -> FrameIntake:
        """Open the detector, unless it is open.

        Raises:
            Unsupported: the service has no detector.
            Unavailable: the detector cannot be loaded, or the service is shutting down.
        """
        self.require()
        async with self._opening:
            if self._closed:
                raise Unavailable("the service is shutting down", retry_after=5)
            if self._intake is None:
                self._intake = self._start(await self._threads.run(self._open))
            return self._intake

    async def close(self) -> None:
        """Finish the work in progress, then end the threads."""
        async with self._opening:
            self._closed = True
            if self._intake is not None:
                await self._intake.close()

    def _open(self) -> Detector:
        log.info("loading the detector %s", self._path)
        try:
            return self._open_detector(self._path)
        except ArtifactError as error:
            log.exception("the detector cannot be used")
            reason = f"the detector {self._path.name} cannot be used; see the service's log"
            raise Unavailable(reason, retry_after=10) from error
