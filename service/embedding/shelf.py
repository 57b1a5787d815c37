"""Every model the service can run: the one it was started with, and those of a folder.

A gallery belongs to one model; whoever searches or fills it uses that one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from service.embedding.batching import Batcher
from service.embedding.intake import Intake
from service.errors import ArtifactError, NotFound
from service.gallery.protocol import Gallery, GalleryStore
from service.gallery.rules import model_mismatch
from service.model.manifest import MANIFEST_NAME, Manifest, read_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """A network at work.

    Attributes:
        manifest: what it is.
        provider: ``cuda`` or ``cpu``.
        batcher: its queue.
        intake: uploads in, its embeddings out.
    """

    manifest: Manifest
    provider: str
    batcher: Batcher
    intake: Intake


@dataclass(frozen=True, slots=True)
class OpenGallery:
    """A gallery and the model its embeddings are made by."""

    gallery: Gallery
    model: Model


class ModelShelf:
    """The models of one service; all but the running one are opened when first needed.

    A model once opened stays open, so switching back and forth costs nothing; it takes the memory
    of its network. Safe to call from several threads.

    Args:
        running: the model the service was started with.
        folder: holds further model folders, None for none. Looked through at every miss, so a
            model that is put there is found without a restart.
        open_model: opens a model folder; slow, raises ArtifactError.
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
        """A gallery with its model.

        Args:
            store: the galleries.
            gallery_name: which one.

        Returns:
            Both.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            ArtifactError: it has, but the model breaks the contract.
        """
        gallery = store.open(gallery_name)
        sha256 = gallery.model_sha256
        model = self.of(sha256)
        if model is None:
            raise model_mismatch(gallery_name, sha256, self.running.manifest.sha256)
        return OpenGallery(gallery, model)

    def of(self, sha256: str) -> Model | None:
        """The model of this SHA-256, None where the service does not have it.

        Raises:
            ArtifactError: the model breaks the contract.
        """
        opened = self._opened.get(sha256)
        if opened is not None:
            return opened
        with self._opening:
            if sha256 not in self._opened:
                folders = {manifest.sha256: folder for folder, manifest in self._on_disk()}
                if sha256 not in folders:
                    return None
                log.info("opening model %s (%s)", folders[sha256].name, sha256[:12])
                self._opened[sha256] = self._open_model(folders[sha256])
            return self._opened[sha256]

    def named(self, name: str) -> Model:
        """The model of this name.

        Raises:
            NotFound: there is none; the message lists those there are.
            ArtifactError: the model breaks the contract.
        """
        for manifest in self.manifests():
            if manifest.name == name and (model := self.of(manifest.sha256)) is not None:
                return model
        known = ", ".join(manifest.name for manifest in self.manifests())
        raise NotFound(f"model {name[:80]!r} is not there; there are: {known}")

    def manifests(self) -> list[Manifest]:
        """Every model there is: the running one, then the others by name."""
        known = {manifest.sha256: manifest for _, manifest in self._on_disk()}
        known |= {sha256: model.manifest for sha256, model in self._opened.copy().items()}
        running = known.pop(self.running.manifest.sha256)
        return [running, *sorted(known.values(), key=lambda manifest: manifest.name)]

    def opened(self) -> list[Model]:
        """The models that are in memory."""
        return list(self._opened.copy().values())

    async def close(self) -> None:
        """Finish what is under way in every model, then end their threads."""
        async with AsyncExitStack() as closing:  # a failure skips no other model
            for model in self.opened():
                closing.callback(model.intake.close)
                closing.push_async_callback(model.batcher.close)

    def _on_disk(self) -> Iterator[tuple[Path, Manifest]]:
        if self._folder is None:
            return
        for entry in sorted(self._folder.glob(f"*/{MANIFEST_NAME}")):
            try:
                yield entry.parent, read_manifest(entry.parent)
            except ArtifactError as error:  # half copied, perhaps: the others are sound
                log.warning("%s", error)
