"""Add pictures to a gallery: decode → embed → store, the last by :mod:`service.ingest.storing`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.embedding.shelf import Model, ModelShelf, OpenGallery
from service.errors import ReidError, Replaced
from service.gallery.base import Crop
from service.gallery.protocol import Gallery, GalleryStore
from service.ingest.arrivals import Arrivals
from service.ingest.storing import (
    Coming,
    Enrolment,
    EnrolmentOutcome,
    serving_model,
    store_rows,
    with_digest,
)
from service.machine.executors import Executors
from service.machine.stopwatch import Stopwatch

_ATTEMPTS = 2  # the second one if the gallery switches to another model while crops are embedded


class Enroller:
    """Adds crops to galleries.

    Args:
        store: the galleries.
        shelf: the models; each gallery is filled by its own.
        executors: threads that read and write galleries.
        arrivals: is told what was stored.
    """

    def __init__(
        self, store: GalleryStore, shelf: ModelShelf, executors: Executors, arrivals: Arrivals
    ) -> None:
        self._store = store
        self._arrivals = arrivals
        self._executors = executors
        self._shelf = shelf

    async def enrol(
        self,
        gallery_name: str,
        uploads: Sequence[EncodedImage],
        crops: Sequence[Crop],
        stopwatch: Stopwatch,
        client: str | None = None,
        *,
        at_once: int | None = None,
    ) -> EnrolmentOutcome:
        """Insert or replace crops by id; an unusable image does not affect the others.

        Args:
            gallery_name: an existing gallery.
            uploads: N image files.
            crops: their metadata; upload i shows crop i. A missing digest is computed here.
            stopwatch: measures the stages decode, embed and upsert.
            client: the client to charge, which gets at most half of the writing threads; None for
                jobs.
            at_once: as of :meth:`embed`.

        Returns:
            N enrolments in the order of the crops, durable on return.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            Unavailable: the queue is full.
            StorageFull: the disk refused the write.
        """
        writes = self._executors.writes
        threads = writes if client is None else writes.of(client)
        for _ in range(_ATTEMPTS):
            model, embeddings = await self.embed(gallery_name, uploads, stopwatch, at_once=at_once)
            with stopwatch.stage("upsert"):
                try:
                    enrolments = await threads.run(
                        self._upsert, gallery_name, model, uploads, crops, embeddings
                    )
                except Replaced:  # by another model, so these embeddings are useless
                    continue
            return EnrolmentOutcome(model.manifest, enrolments)
        raise Replaced(f"gallery {gallery_name!r} keeps changing its model: retry later")

    async def require(self, gallery_name: str) -> None:
        """Check that a gallery can be filled, before work is done for it.

        Args:
            gallery_name: its name.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
        """
        await self._open(gallery_name)

    async def embed(
        self,
        gallery_name: str,
        uploads: Sequence[EncodedImage],
        stopwatch: Stopwatch,
        *,
        at_once: int | None = None,
    ) -> tuple[Model, list[Embedding | ReidError]]:
        """Embed image files with a gallery's model; nothing is stored.

        Args:
            gallery_name: an existing gallery.
            uploads: N image files.
            stopwatch: measures the stages decode and embed.
            at_once: how many of them may wait for the network at the same time; all if None.

        Returns:
            The model, and N entries in the order of the files: a (D,) float32 unit row, or the
            error of that file.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            Unavailable: the queue is full.
        """
        model = (await self._open(gallery_name)).model
        step = at_once or max(1, len(uploads))
        embeddings: list[Embedding | ReidError] = []
        for begin in range(0, len(uploads), step):
            embeddings += await model.intake.embed(uploads[begin : begin + step], stopwatch)
        return model, embeddings

    async def _open(self, gallery_name: str) -> OpenGallery:
        return await self._executors.reads.run(self._shelf.open, self._store, gallery_name)

    def _upsert(
        self,
        gallery_name: str,
        model: Model,
        uploads: Sequence[EncodedImage],
        crops: Sequence[Crop],
        embeddings: Sequence[Embedding | ReidError],
    ) -> list[Enrolment]:
        with serving_model(self._store, gallery_name, model) as gallery:
            outcomes = iter(self._store_usable(gallery, model, uploads, crops, embeddings))
        return [
            Enrolment(crop, "error", row) if isinstance(row, ReidError) else next(outcomes)
            for crop, row in zip(crops, embeddings, strict=True)
        ]

    def _store_usable(
        self,
        gallery: Gallery,
        model: Model,
        uploads: Sequence[EncodedImage],
        crops: Sequence[Crop],
        embeddings: Sequence[Embedding | ReidError],
    ) -> list[Enrolment]:
        usable = {at: row for at, row in enumerate(embeddings) if not isinstance(row, ReidError)}
        if not usable:
            return []
        pictures = [uploads[at].data for at in usable]
        coming = [with_digest(crops[at], data) for at, data in zip(usable, pictures, strict=True)]
        rows = np.stack(list(usable.values()))
        frames = [uploads[at].frame for at in usable]
        return store_rows(gallery, model, Coming(coming, rows, pictures, frames), self._arrivals)
