"""The interface of a detector: pictures in, candidates out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.model.detector_manifest import DetectorManifest

Found = NDArray[np.float32]
"""(K, 5): x1, y1, x2, y2 in pixels and the score of K boxes, the highest score first."""


class Detector(Protocol):
    """What the service needs from a network that finds persons."""

    @property
    def manifest(self) -> DetectorManifest:
        """The model's manifest."""
        ...

    @property
    def provider(self) -> str:
        """The device the network runs on: ``cuda`` or ``cpu``."""
        ...

    def detect(self, images: NDArray[np.uint8]) -> list[Found]:
        """Find candidates; those that overlap are not removed.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            For each image its candidates, in pixels of the input; not clipped to it.
        """
        ...
