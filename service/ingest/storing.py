"""Store crops: whether they are there already, what is known of them, whose identity they join.

This module alone decides what becomes of a crop that is sent. Requests and imports both go through
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from service.embedding.intake import Embedding
from service.embedding.shelf import Model
from service.errors import ReidError, Replaced
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery, GalleryStore
from service.gallery.rules import with_time
from service.ingest.arrivals import Arrivals
from service.ingest.findings import keep_known_identities
from service.ingest.joining import Joined, JoinRule, join_groups, stored_crops
from service.model.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What became of one crop.

    Attributes:
        crop: the crop as it is stored.
        status: ``error`` if it could not be used.
        error: the reason.
    """

    crop: Crop
    status: Literal["created", "replaced", "error"]
    error: ReidError | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentOutcome:
    """What became of a batch of crops, and the model that embedded it."""

    model: Manifest
    enrolments: list[Enrolment]


@contextmanager
def serving_model(store: GalleryStore, gallery_name: str, model: Model) -> Iterator[Gallery]:
    """Hold a gallery's lock, provided that it is still served by the model of some embeddings.

    Args:
        store: the galleries.
        gallery_name: an existing gallery.
        model: the model that made the embeddings.

    Yields:
        The gallery.

    Raises:
        Replaced: the gallery was switched to another model.
    """
    with store.changing(gallery_name) as gallery:
        if gallery.model_sha256 != model.manifest.sha256:
            raise Replaced(f"gallery {gallery_name!r} was switched to another model: retry")
        yield gallery


@dataclass(frozen=True, slots=True)
class Coming:
    """Crops that are about to be stored.

    Attributes:
        crops: N crops with their digests.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        pictures: N image files, or None if the crops come without.
        frames: N numbers of the frames that the crops were cut out of, where known; or none.
    """

    crops: Sequence[Crop]
    rows: Embedding
    pictures: Sequence[bytes] | None = None
    frames: Sequence[int | None] = ()


def store_rows(
    gallery: Gallery, model: Model, coming: Coming, arrivals: Arrivals
) -> list[Enrolment]:
    """Insert or replace crops by id, all or none.

    Args:
        gallery: the gallery; the caller holds its lock.
        model: the model that made the gallery's embeddings.
        coming: the crops.
        arrivals: is told what was stored.

    Returns:
        N enrolments in the order of the crops.
    """
    before = stored_crops(gallery, {crop.crop_id for crop in coming.crops})
    stored = store_dated(gallery, model, coming, before, arrivals)
    known = set(before)
    outcomes: list[Enrolment] = []
    for crop in stored:
        outcomes.append(Enrolment(crop, "replaced" if crop.crop_id in known else "created"))
        known.add(crop.crop_id)
    return outcomes


def store_dated(
    gallery: Gallery,
    model: Model,
    coming: Coming,
    before: Mapping[str, Crop],
    arrivals: Arrivals,
) -> list[Crop]:
    """Add what is known about crops, and the time, and store them, all or none.

    Args:
        gallery: the gallery; the caller holds its lock.
        model: the model that made the gallery's embeddings.
        coming: the crops.
        before: what the gallery holds under their ids.
        arrivals: is told what was stored.

    Returns:
        The crops as they are stored, in their order.
    """
    now = arrivals.next_time(gallery.name)
    crops = [with_time(crop, now) for crop in coming.crops]
    found = identified(gallery, model, crops, coming.rows, before, coming.frames)
    gallery.upsert(found.crops, coming.rows, coming.pictures)
    arrivals.note(gallery.name, now, [crop.crop_id for crop in crops])
    if _is_renaming(found.crops, before):
        arrivals.note_renamed(gallery.name)
    if found.earlier:  # should this fail, the next crop of the track repeats it
        gallery.relabel(found.earlier, "join")
    return found.crops


def _is_renaming(crops: Sequence[Crop], before: Mapping[str, Crop]) -> bool:
    """Whether crops take an identity from what is stored under their ids."""
    earlier = (before.get(crop.crop_id, crop).identity for crop in crops)
    return any(name not in {None, crop.identity} for crop, name in zip(crops, earlier, strict=True))


def with_digest(crop: Crop, data: bytes) -> Crop:
    """Fill in a crop's digest, unless it is known.

    Args:
        crop: a crop.
        data: the bytes it was made of.

    Returns:
        The crop with the SHA-256 of these bytes.
    """
    if crop.digest:
        return crop
    digest = hashlib.sha256(data).hexdigest()
    # Ten times as fast as dataclasses.replace, which matters when embeddings are imported.
    return Crop(
        *(crop.crop_id, crop.identity, crop.camera, crop.timestamp),
        *(digest, crop.origin, crop.added, crop.track),
    )


def unchanged(crops: Sequence[Crop], before: Mapping[str, Crop]) -> set[str]:
    """Find the crops that the gallery holds exactly as they are sent.

    Args:
        crops: N crops with their digests.
        before: what the gallery holds under their ids.

    Returns:
        The ids of these crops.
    """
    kept = keep_known_identities(crops, before)
    return {crop.crop_id for crop in kept if crop == before.get(crop.crop_id)}


def lacking_pictures(gallery: Gallery, crop_ids: Collection[str]) -> set[str]:
    """Find the crops whose picture the gallery should store and does not.

    Args:
        gallery: the gallery.
        crop_ids: ids of crops that are sent with a picture.

    Returns:
        Their ids; empty if the gallery does not store pictures.
    """
    if not gallery.options.store_crops:
        return set()
    return set(crop_ids) - gallery.pictured(Filter(crop_ids=frozenset(crop_ids)))


def identified(
    gallery: Gallery,
    model: Model,
    crops: Sequence[Crop],
    rows: Embedding,
    before: Mapping[str, Crop],
    frames: Sequence[int | None] = (),
) -> Joined:
    """Add what is known about the pictures of crops, and the identities the crops join.

    Args:
        gallery: the gallery; the caller holds its lock until the crops are stored.
        model: the model that made the gallery's embeddings.
        crops: N crops with their digests.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        before: what the gallery holds under their ids.
        frames: N numbers of the frames that they were cut out of, where known; or none.

    Returns:
        N crops, and the identities that earlier crops of their tracks join with them.
    """
    kept = keep_known_identities(crops, before)
    rule = JoinRule.of(model.manifest.calibration)
    if not gallery.options.join or rule is None:
        return Joined(kept, {})
    return join_groups(gallery, kept, rows, rule, frames)
