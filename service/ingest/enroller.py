"""Uploaded crops into a gallery: decode → embed → upsert."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.embedding.shelf import Model, ModelShelf
from service.errors import ReidError, Replaced
from service.gallery.base import Crop
from service.gallery.protocol import Gallery, GalleryStore
from service.ingest.joining import JoinRule, join_groups, keep_findings, stored_crops
from service.machine.executors import Executors
from service.machine.stopwatch import Stopwatch
from service.model.manifest import Manifest

_ATTEMPTS = 2  # once more, should the gallery be switched to another model between the two steps


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What became of one crop; ``error`` where it could not be used."""

    crop: Crop
    status: Literal["created", "replaced", "error"]
    error: ReidError | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentOutcome:
    """What became of a batch, and the model that embedded it."""

    model: Manifest
    enrolments: list[Enrolment]


class Enroller:
    """Adds crops to galleries.

    Args:
        store: the galleries.
        shelf: the models; a gallery is filled with its own.
        executors: threads that read and write galleries.
    """

    def __init__(self, store: GalleryStore, shelf: ModelShelf, executors: Executors) -> None:
        self._store = store
        self._executors = executors
        self._shelf = shelf

    async def enrol(
        self,
        gallery_name: str,
        uploads: Sequence[EncodedImage],
        crops: Sequence[Crop],
        stopwatch: Stopwatch,
        client: str | None = None,
    ) -> EnrolmentOutcome:
        """Insert or replace crops by id; a bad image leaves the others.

        Args:
            gallery_name: an existing gallery.
            uploads: N image files.
            crops: what is known of them, upload i shows crop i; digests are filled in here.
            stopwatch: measures the stages decode, embed and upsert.
            client: who pays, and has half of the writing threads at most; None for jobs.

        Returns:
            N enrolments in the order of the crops, durable once this returns.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            Unavailable: the queue is full.
            StorageFull: the disk refused the write.
        """
        writes = self._executors.writes
        threads = writes if client is None else writes.of(client)
        for _ in range(_ATTEMPTS):
            opened = await self._executors.reads.run(self._shelf.open, self._store, gallery_name)
            embeddings = await opened.model.intake.embed(uploads, stopwatch)
            with stopwatch.stage("upsert"):
                try:
                    enrolments = await threads.run(
                        self._upsert, gallery_name, opened.model, uploads, crops, embeddings
                    )
                except Replaced:  # by another model, so the embeddings are worth nothing
                    continue
            return EnrolmentOutcome(opened.model.manifest, enrolments)
        raise Replaced(f"gallery {gallery_name!r} changes its model again and again: ask later")

    def _upsert(
        self,
        gallery_name: str,
        model: Model,
        uploads: Sequence[EncodedImage],
        crops: Sequence[Crop],
        embeddings: Sequence[Embedding | ReidError],
    ) -> list[Enrolment]:
        with self._store.changing(gallery_name) as gallery:
            if gallery.model_sha256 != model.manifest.sha256:
                raise Replaced(f"gallery {gallery_name!r} was switched to another model: ask again")
            return _upsert(gallery, model, uploads, crops, embeddings)


def _upsert(
    gallery: Gallery,
    model: Model,
    uploads: Sequence[EncodedImage],
    crops: Sequence[Crop],
    embeddings: Sequence[Embedding | ReidError],
) -> list[Enrolment]:
    usable = {index: row for index, row in enumerate(embeddings) if not isinstance(row, ReidError)}
    now = time.time()
    coming = [
        replace(crops[index], digest=hashlib.sha256(uploads[index].data).hexdigest(), added=now)
        for index in usable
    ]
    before = stored_crops(gallery, {crop.crop_id for crop in coming})
    if usable:
        rows = np.stack(list(usable.values()))
        coming = identified(gallery, model, coming, rows, before)
        gallery.upsert(coming, rows, [uploads[index].data for index in usable])
    stored = dict(zip(usable, coming, strict=True))
    known = set(before)
    outcomes: list[Enrolment] = []
    for index, entry in enumerate(embeddings):
        if isinstance(entry, ReidError):
            outcomes.append(Enrolment(crops[index], "error", entry))
            continue
        crop = stored[index]
        outcomes.append(Enrolment(crop, "replaced" if crop.crop_id in known else "created"))
        known.add(crop.crop_id)
    return outcomes


def identified(
    gallery: Gallery,
    model: Model,
    crops: Sequence[Crop],
    rows: Embedding,
    before: Mapping[str, Crop],
) -> list[Crop]:
    """Crops with what is known of their pictures, and with the groups they join.

    Args:
        gallery: where they go; the caller holds its lock until they are stored.
        model: what the gallery's embeddings are made by.
        crops: N crops with their digests.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        before: what the gallery holds under their ids.

    Returns:
        N crops.
    """
    kept = keep_findings(crops, before)
    calibration = model.manifest.calibration
    if not gallery.options.join or calibration is None:
        return kept
    return join_groups(gallery, kept, rows, JoinRule.of(calibration))
