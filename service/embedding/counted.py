"""An embedder that counts what it embeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.embedding.embedder import Embedder
from service.model.manifest import Manifest


class CountedEmbedder:
    """An embedder that reports the size of every batch it runs.

    Args:
        embedder: does the work.
        observe: called with the number of images before each run.
    """

    def __init__(self, embedder: Embedder, observe: Callable[[int], object]) -> None:
        self._embedder = embedder
        self._observe = observe

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self._embedder.manifest

    @property
    def provider(self) -> str:
        """Where the network runs."""
        return self._embedder.provider

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch, as the wrapped embedder does."""
        self._observe(len(images))
        return self._embedder.embed(images)
