"""Count the images that an embedder embeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.embedding.embedder import Embedder
from service.model.manifest import Manifest


class CountedEmbedder:
    """Wraps an embedder and reports the size of each batch.

    Args:
        embedder: the embedder to wrap.
        observe: called with the number of images before each batch.
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
        """The device the network runs on."""
        return self._embedder.provider

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch; see :meth:`service.embedding.embedder.Embedder.embed`."""
        self._observe(len(images))
        return self._embedder.embed(images)
