"""Every model the service can run: the running model, and the models of a folder.

A gallery belongs to one model, which is used to search and to fill it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from service.embedding.batching import Batcher
from service.embedding.intake import Intake
from service.embedding.model_folders import find_model, models_in
from service.embedding.resting_embedder import RestingEmbedder
from service.errors import NotFound
from service.gallery.protocol import Gallery, GalleryStore
from service.gallery.rules import model_mismatch
from service.model.manifest import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model.

    Attributes:
        manifest: its manifest.
        provider: the device it runs on, ``cuda`` or ``cpu``.
        batcher: runs it.
        intake: turns image files into its embeddings.
        resting: takes its network out of memory; None if it always stays there.
    """

    manifest: Manifest
    provider: str
    batcher: Batcher
    intake: Intake
    resting: RestingEmbedder | None = None


@dataclass(frozen=True, slots=True)
class OpenGallery:
    """A gallery and the model of its embeddings."""

    gallery: Gallery
    model: Model


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in the folder of models.

    Attributes:
        manifests: every model that can be run: the running one, then the others by name.
        unusable: why a folder or file cannot be run, by its name, in the order of names.
    """

    manifests: list[Manifest]
    unusable: dict[str, str]


class ModelShelf:
    """The models of one service. All but the running one are loaded when they are first needed.

    A loaded model keeps its queue and its threads, so switching between models costs no time; only
    its network leaves memory while nobody needs it. Safe to call from several threads.

    Args:
        running: the model the service was started with.
        folder: folder of further model folders, if any. It is read again whenever a model is
            missing, so a new model is found without a restart.
        open_model: loads a model folder; slow, raises ArtifactError.
    """

    def __init__(
        self, running: Model, folder: Path | None, open_model: Callable[[Path], Model]
    ) -> None:
        self.running = running
        self._folder = folder
        self._open_model = open_model
        self._opened = {running.manifest.sha256: running}
        self._opening = threading.Lock()

    def open(self, store: GalleryStore, gallery_name: str) -> OpenGallery:
        """Open a gallery with its model.

        Args:
            store: the galleries.
            gallery_name: name of the gallery.

        Returns:
            Both.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            ArtifactError: the gallery's model breaks the contract.
        """
        gallery = store.open(gallery_name)
        sha256 = gallery.model_sha256
        model = self.of(sha256)
        if model is None:
            raise model_mismatch(gallery_name, sha256, self.running.manifest.sha256)
        return OpenGallery(gallery, model)

    def of(self, sha256: str) -> Model | None:
        """The model with this SHA-256; None if the service does not have it.

        Raises:
            ArtifactError: the model breaks the contract.
        """
        opened = self._opened.get(sha256)
        if opened is not None:
            return opened
        with self._opening:
            if sha256 not in self._opened:
                folder = find_model(self._folder, sha256)
                if folder is None:
                    return None
                log.info("loading model %s (%s)", folder.name, sha256[:12])
                self._opened[sha256] = self._open_model(folder)
            return self._opened[sha256]

    def named(self, name: str) -> Model:
        """The model with this name.

        Raises:
            NotFound: there is none; the message lists the models that exist, or says why a folder
                of this name holds none.
            ArtifactError: the model breaks the contract.
        """
        found = self.survey()
        for manifest in found.manifests:
            if manifest.name == name and (model := self.of(manifest.sha256)) is not None:
                return model
        if reason := found.unusable.get(name):
            raise NotFound(f"model {name[:80]!r} cannot be used: {reason}")
        known = ", ".join(manifest.name for manifest in found.manifests)
        raise NotFound(f"unknown model {name[:80]!r}; known models: {known}")

    def manifests(self) -> list[Manifest]:
        """Every known model: the running one, then the others by name."""
        return self.survey().manifests

    def survey(self) -> Survey:
        """Read the folder of models once: what can be run, and what cannot."""
        unusable: dict[str, str] = {}
        found = models_in(self._folder, unusable)
        known = {manifest.sha256: manifest for _, manifest in found}
        known |= {sha256: model.manifest for sha256, model in self._opened.copy().items()}
        running = known.pop(self.running.manifest.sha256)
        others = sorted(known.values(), key=lambda manifest: manifest.name)
        return Survey([running, *others], unusable)

    def opened(self) -> list[Model]:
        """The models that are loaded."""
        return list(self._opened.copy().values())

    def rest(self, idle_seconds: float) -> None:
        """Take networks out of memory that have embedded nothing for so long, but the running one.

        Args:
            idle_seconds: seconds since a network's last image.
        """
        for model in self.opened():
            if model.resting is not None:
                model.resting.rest(idle_seconds)

    async def close(self) -> None:
        """Finish the work in progress of every model, then end their threads."""
        async with AsyncExitStack() as closing:  # closes all models even if one fails
            for model in self.opened():
                closing.callback(model.intake.close)
                closing.push_async_callback(model.batcher.close)
