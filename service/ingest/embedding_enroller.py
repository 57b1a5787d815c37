"""Store crops that come with their embeddings: check → upsert, without decoding or embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.embedding.shelf import ModelShelf
from service.gallery.protocol import GalleryStore
from service.ingest.arrivals import Arrivals
from service.ingest.sent_embeddings import (
    EmbeddedCrop,
    check_embedding,
    require_model,
    to_bytes,
)
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
from service.model.manifest import Manifest


class EmbeddingEnroller:
    """Adds crops with their embeddings to galleries.

    Args:
        store: the galleries.
        shelf: the models.
        executors: threads that write galleries.
        arrivals: is told what was stored.
    """

    def __init__(
        self, store: GalleryStore, shelf: ModelShelf, executors: Executors, arrivals: Arrivals
    ) -> None:
        self._store = store
        self._arrivals = arrivals
        self._shelf = shelf
        self._executors = executors

    async def enrol(
        self,
        gallery_name: str,
        crops: Sequence[EmbeddedCrop],
        model_sha256: str | None,
        stopwatch: Stopwatch,
        client: str,
    ) -> EnrolmentOutcome:
        """Insert or replace crops by id, all or none.

        Args:
            gallery_name: an existing gallery.
            crops: N crops.
            model_sha256: the model that made the embeddings, if the client says so.
            stopwatch: measures the stage upsert.
            client: the client to charge.

        Returns:
            N enrolments in the order of the crops, durable on return.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the embeddings are of another model, or the service lacks the gallery's.
            InvalidInput: an embedding does not fit the gallery.
            StorageFull: the disk refused the write.
        """
        threads = self._executors.writes.of(client)
        with stopwatch.stage("upsert"):
            model, enrolments = await threads.run(
                self._store_all, gallery_name, crops, model_sha256
            )
        return EnrolmentOutcome(model, enrolments)

    def _store_all(
        self, gallery_name: str, crops: Sequence[EmbeddedCrop], model_sha256: str | None
    ) -> tuple[Manifest, list[Enrolment]]:
        opened = self._shelf.open(self._store, gallery_name)
        model = opened.model
        require_model(model_sha256, model.manifest.sha256, gallery_name)
        dimension = opened.gallery.dimension
        rows = np.stack([check_embedding(one.embedding, dimension, one.name) for one in crops])
        coming = [
            with_digest(one.crop, to_bytes(row)) for one, row in zip(crops, rows, strict=True)
        ]
        with serving_model(self._store, gallery_name, model) as gallery:
            stored = store_rows(gallery, model, Coming(coming, rows), self._arrivals)
        return model.manifest, stored
