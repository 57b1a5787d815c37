"""Images in, unit embeddings out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.artifact import Manifest


class Embedder(Protocol):
    """What the rest of the service needs of a network."""

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        ...

    @property
    def provider(self) -> str:
        """``cuda`` or ``cpu``: where the network runs."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            (N, D) float32, rows of unit length.
        """
        ...
