"""An embedder whose network leaves memory while nobody needs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.embedding.embedder import Embedder
from service.errors import ArtifactError, Unavailable
from service.model.manifest import Manifest

log = logging.getLogger(__name__)


class RestingEmbedder:
    """Wraps an embedder that can be loaded again. Safe to call from several threads.

    Args:
        network: the loaded embedder.
        load: loads the same model again; slow, raises ArtifactError.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        network: Embedder,
        load: Callable[[], Embedder],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manifest, self._provider = network.manifest, network.provider
        self._network: Embedder | None = network
        self._load = load
        self._clock = clock
        self._used = clock()
        self._busy = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self._manifest

    @property
    def provider(self) -> str:
        """The device the network runs on."""
        return self._provider

    @property
    def in_memory(self) -> bool:
        """Whether the network is loaded."""
        return self._network is not None

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch; see :meth:`service.embedding.embedder.Embedder.embed`.

        Raises:
            Unavailable: the network had left memory, and its model is not there any more.
        """
        with self._busy:
            if self._network is None:
                self._network = self._loaded()
            try:
                return self._network.embed(images)
            finally:
                self._used = self._clock()

    def rest(self, idle_seconds: float) -> None:
        """Take the network out of memory if it has embedded nothing for so long.

        Args:
            idle_seconds: seconds since the last image.
        """
        if not self._busy.acquire(blocking=False):
            return  # it embeds at this moment
        try:
            if self._network is not None and self._clock() - self._used >= idle_seconds:
                self._network = None
                log.info("model %s leaves memory: nobody has used it", self._manifest.name)
        finally:
            self._busy.release()

    def _loaded(self) -> Embedder:
        log.info("loading model %s again", self._manifest.name)
        try:
            return self._load()
        except ArtifactError as error:
            log.warning("model %s cannot be loaded again: %s", self._manifest.name, error)
            raise Unavailable(
                f"model {self._manifest.name} is no longer in the service's folder of models"
            ) from error
