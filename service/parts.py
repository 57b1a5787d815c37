"""The parts of a running service and who gets which."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Literal

from service.artifact import Manifest
from service.batching import Batcher
from service.embedder import Embedder
from service.enroller import Enroller
from service.errors import Conflict, ModelMismatch, StorageFull, Unavailable
from service.gallery.base import GalleryStore
from service.gallery.local import LocalGalleryStore
from service.imaging import ImageLimits
from service.intake import Intake
from service.metrics import CountedEmbedder, Metrics
from service.onnx_embedder import OnnxEmbedder
from service.searcher import Searcher
from service.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_GALLERY = "default"


@dataclass(slots=True)
class Lifecycle:
    """Where the service stands between start and end."""

    phase: Literal["starting", "ready", "draining"] = "starting"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    settings: Settings
    manifest: Manifest
    providers: dict[str, str]
    batcher: Batcher
    store: GalleryStore
    intake: Intake
    searcher: Searcher
    enroller: Enroller
    metrics: Metrics
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    async def start(self) -> None:
        """Run the network once and make sure that the default gallery exists."""
        await self.intake.probe()
        await asyncio.to_thread(self._provide_default_gallery)
        self.lifecycle.phase = "ready"

    async def check_ready(self) -> None:
        """Do what a request would do: run the network, and see whether the disk takes a write.

        Raises:
            Unavailable: the service is starting or draining, or the disk refuses.
        """
        if self.lifecycle.phase != "ready":
            raise Unavailable(f"the service is {self.lifecycle.phase}")
        await self.intake.probe()
        if not await asyncio.to_thread(self.store.writable):
            raise Unavailable("the data folder accepts no writes", retry_after=10)

    async def close(self) -> None:
        """Finish what is under way, then release threads and files."""
        self.lifecycle.phase = "draining"
        await self.batcher.close()
        self.intake.close()
        await asyncio.to_thread(self.store.close)

    def _provide_default_gallery(self) -> None:
        try:
            self.store.create(DEFAULT_GALLERY, self.manifest.sha256, self.manifest.dimension)
        except Conflict:
            self._warn_of_other_models()
        except StorageFull as error:  # what is stored can be searched all the same
            log.warning("%s", error)

    def _warn_of_other_models(self) -> None:
        for gallery in self.store.stats():
            try:
                self.store.open(gallery.name, self.manifest.sha256)
            except ModelMismatch as error:
                log.warning("%s", error)


def open_parts(
    settings: Settings, embedder: Embedder | None = None, store: GalleryStore | None = None
) -> Parts:
    """Open model and galleries and connect the parts.

    Args:
        settings: every setting.
        embedder: takes the place of the model the settings name.
        store: takes the place of the data folder the settings name.

    Returns:
        The parts, not started.

    Raises:
        ArtifactError: the model breaks the contract.
        Unavailable: the device, or the data folder, cannot be used.
    """
    metrics = Metrics()
    network = embedder or OnnxEmbedder(settings.model, device=settings.device)
    store = store or _open_store(settings)
    counted = CountedEmbedder(network, metrics.batch_images.observe)
    batcher = Batcher(counted, max_batch=settings.max_batch, max_queue=settings.max_queue)
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    intake = Intake(batcher, network.manifest, limits, settings.decode_threads, metrics)
    parts = Parts(
        settings=settings,
        manifest=network.manifest,
        providers={"network": network.provider, "search": store.device},
        batcher=batcher,
        store=store,
        intake=intake,
        searcher=Searcher(intake, store, network.manifest),
        enroller=Enroller(intake, store, network.manifest),
        metrics=metrics,
    )
    metrics.count_galleries(store)
    metrics.queue_images.set_function(lambda: batcher.stats().queued)
    for part, provider in parts.providers.items():
        metrics.provider.labels(part, provider).set(1)
    return parts


def _open_store(settings: Settings) -> GalleryStore:
    if settings.milvus_uri is None:
        return LocalGalleryStore(settings.data, device=settings.device)
    try:
        from service.gallery.milvus import MilvusGalleryStore  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"REID_MILVUS_URI is {settings.milvus_uri}, but {error.name} is not installed: "
            "pip install 'hhcl-reid[milvus]'"
        ) from error
    return MilvusGalleryStore(settings.milvus_uri, token=settings.milvus_token.get_secret_value())
