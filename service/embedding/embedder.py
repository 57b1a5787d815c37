"""The interface of an embedder: images in, unit-length embeddings out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.model.manifest import Manifest, NetworkRecord


class Embedder(Protocol):
    """What the service needs from a network."""

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        ...

    @property
    def provider(self) -> str:
        """The device the network runs on: ``cuda`` or ``cpu``."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            (N, D) float32, rows of unit length.
        """
        ...


def check_batch(images: NDArray[np.uint8], manifest: NetworkRecord) -> None:
    """Check that images are a batch at the model's input size.

    Args:
        images: the batch.
        manifest: states H and W.

    Raises:
        ValueError: not uint8 (N, H, W, 3) with N >= 1.
    """
    height, width = manifest.input_height, manifest.input_width
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3) or len(images) == 0:
        raise ValueError(
            f"images are {images.dtype} {images.shape}: the model takes uint8 "
            f"(N, {height}, {width}, 3) with N >= 1"
        )
