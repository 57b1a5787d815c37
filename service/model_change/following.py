"""Brings one version of a gallery up to date with the served version.

Pictures are read and embedded without any lock. The embeddings are written under the gallery's
lock, and only if the crop is still served with that picture. So nothing that was deleted or
replaced meanwhile comes back, and nothing is written to a version that was dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.errors import Conflict, NotFound, ReidError
from service.gallery.base import Crop, Filter
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.store import DiskGalleryStore
from service.model_change.differences import Differences, differences

_BATCH = 32
_DESCRIBED = 4096  # per batch, since they have neither embeddings nor pictures

_Item = TypeVar("_Item")
Embed = Callable[[Sequence[EncodedImage]], list[Embedding | ReidError]]
Failed = Callable[[Crop, str], object]


@dataclass(frozen=True, slots=True)
class Followed:
    """The result of a batch of crops.

    Attributes:
        embedded: number of crops that the version holds now.
        overtaken: number of crops that were deleted or replaced while they were embedded.
    """

    embedded: int
    overtaken: int


class Following:
    """Makes one version of a gallery follow the served version.

    Args:
        store: the galleries.
        gallery: the gallery's name.
        sha256: the version's model.
        embed: embeds pictures with that model; never called with a lock held.
    """

    def __init__(self, store: DiskGalleryStore, gallery: str, sha256: str, embed: Embed) -> None:
        self._store = store
        self._gallery = gallery
        self._sha256 = sha256
        self._embed = embed

    @contextmanager
    def pair(self) -> Iterator[tuple[DiskGallery, DiskGallery]]:
        """The served version and this one as they are now, with the gallery's lock held.

        Raises:
            NotFound: the gallery or the version was deleted.
            Conflict: the version is served by now.
        """
        with self._store.changing(self._gallery) as served:
            copy = served.versions.kept.get(self._sha256)
            if copy is None:
                model = self._sha256[:12]
                if served.model_sha256 == self._sha256:
                    raise Conflict(f"gallery {self._gallery!r} is served by model {model} by now")
                raise NotFound(f"gallery {self._gallery!r} has no version for model {model}")
            yield served, copy

    def now(self) -> tuple[DiskGallery, DiskGallery]:
        """Both versions as they are now, without the lock; raises as :meth:`pair`."""
        with self.pair() as versions:
            return versions

    def lacks(self) -> Differences:
        """What the version lacks, read without the lock."""
        return differences(*self.now())

    def bring_over(self, found: Differences) -> None:
        """Do what needs no embedding, part by part; each part is compared again under the lock."""
        known = [*found.to_delete, *(crop.crop_id for crop in found.to_describe)]
        for ids in (*_parts(known, _DESCRIBED), *_parts(found.to_picture, _BATCH)):
            with self.pair() as (served, copy):
                where = Filter(crop_ids=frozenset(ids))
                apply_known(served, copy, differences(served, copy, where))

    def embed(self, crops: Sequence[Crop], failed: Failed) -> Iterator[Followed]:
        """Embed crops that the version lacks, batch by batch.

        Args:
            crops: the crops of the served version.
            failed: called with each crop that cannot be embedded, and the reason.

        Yields:
            The result of each batch.
        """
        for batch in _parts(crops, _BATCH):
            yield self._embed_batch(batch, failed)

    def _embed_batch(self, batch: Sequence[Crop], failed: Failed) -> Followed:
        served = self._store.open(self._gallery)
        pictures = {crop: data for crop in batch if (data := _picture(served, crop, failed))}
        uploads = [EncodedImage(crop.crop_id, data) for crop, data in pictures.items()]
        rows: dict[Crop, Embedding] = {}
        for crop, outcome in zip(pictures, self._embed(uploads) if uploads else (), strict=True):
            if isinstance(outcome, ReidError):
                failed(crop, str(outcome))
            else:
                rows[crop] = outcome
        return self._write(rows, pictures) if rows else Followed(0, 0)

    def _write(self, rows: Mapping[Crop, Embedding], pictures: Mapping[Crop, bytes]) -> Followed:
        with self.pair() as (served, copy):
            where = Filter(crop_ids=frozenset(crop.crop_id for crop in rows))
            by_id = {crop.crop_id: crop for crop in served.crops(where)}
            now = {
                crop: by_id[crop.crop_id]
                for crop in rows
                if crop.crop_id in by_id and _same(served, by_id[crop.crop_id], crop, pictures)
            }
            if now:
                # Their metadata may have changed too: the served version has the last word.
                vectors = np.stack([rows[crop] for crop in now])
                copy.upsert(list(now.values()), vectors, [pictures[crop] for crop in now])
        return Followed(len(now), len(rows) - len(now))


def apply_known(served: DiskGallery, copy: DiskGallery, found: Differences) -> None:
    """Apply changes that need no embedding to a copy.

    The caller must have held the lock since it computed the differences.

    Args:
        served: the version that is served.
        copy: the version to change.
        found: how they differ.
    """
    if found.to_delete:
        copy.delete(Filter(crop_ids=frozenset(found.to_delete)))
    if found.to_describe:
        copy.describe(found.to_describe)
    for ids in _parts(found.to_picture, _BATCH):
        copy.add_pictures({crop_id: served.picture(crop_id) for crop_id in ids})


def _picture(served: DiskGallery, crop: Crop, failed: Failed) -> bytes | None:
    try:
        picture = served.picture(crop.crop_id)
    except NotFound as error:
        failed(crop, str(error))
        return None
    if crop.digest is not None and hashlib.sha256(picture).hexdigest() != crop.digest:
        failed(crop, "the stored picture is damaged or was just replaced")
        return None
    return picture


def _same(served: DiskGallery, now: Crop, crop: Crop, pictures: Mapping[Crop, bytes]) -> bool:
    """Whether a crop still has the picture that was embedded."""
    if crop.digest is not None:
        return now.digest == crop.digest
    try:
        return now.digest is None and served.picture(crop.crop_id) == pictures[crop]
    except NotFound:
        return False


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
