"""One gallery on this machine: a database and the rows in memory, kept in step."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound, ReidError, Unavailable
from service.gallery import rules
from service.gallery.base import (
    Crop,
    Filter,
    GalleryOptions,
    GalleryStats,
    Hit,
    Origin,
    Page,
    Receipt,
    StandardisedHits,
    StandardisedQuery,
)
from service.gallery.database import GalleryDatabase
from service.gallery.live_rows import LiveRows
from service.gallery.nearest import Gpu, nearest
from service.gallery.standardised_search import nearest_standardised

DATABASE_NAME = "gallery.sqlite3"
_NAMED_IN_LOG = 20
_log = logging.getLogger(__name__)


class LocalGallery:
    """One named set of crops; its methods are those of :class:`service.gallery.base.Gallery`.

    A write goes to SQLite first, and once committed to the rows in memory. Queries read a snapshot
    of those rows and wait neither for a write nor for each other.

    Args:
        folder: holds ``gallery.sqlite3``; named like the gallery.
        gpu: runs unfiltered queries, None for the CPU.

    Raises:
        Unavailable: the file is missing, damaged, or of a newer version.
    """

    def __init__(self, folder: Path, gpu: Gpu | None) -> None:
        self._folder = folder
        self._database = GalleryDatabase(folder / DATABASE_NAME)
        self._rows = LiveRows(self.dimension)
        self._damaged: set[str] = set()
        self._gpu = gpu
        self._mirror = gpu.mirror(self.dimension) if gpu else None
        self._writing = threading.Lock()
        self._state: Literal["open", "closed", "deleted"] = "open"
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The gallery's name."""
        return self._folder.name

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        return self._database.header.model_sha256

    @property
    def dimension(self) -> int:
        """Length of its embeddings."""
        return self._database.header.dimension

    @property
    def options(self) -> GalleryOptions:
        """What its owner decided."""
        return self._database.header.options

    def configure(self, options: GalleryOptions) -> None:
        """Change the options, durable on return; without ``store_crops`` pictures are erased."""
        rules.check_options(options)
        with self._changing():
            self._database.configure(options)

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id, all or none, durable on return."""
        for crop in crops:
            rules.check_crop(crop)
        vectors = rules.unit_rows(
            embeddings, len(crops), self.dimension, lambda row: f"crop {crops[row].crop_id!r}"
        )
        rules.check_pictures(pictures, len(crops))
        positions, now = rules.last_of_each(crops), time.time()
        crops = [rules.with_time(crops[position], now) for position in positions]
        vectors = vectors[positions]
        ids = [crop.crop_id for crop in crops]
        with self._changing():
            kept = None
            if pictures is not None and self.options.store_crops:
                kept = [pictures[position] for position in positions]
            new = sum(crop_id not in self._rows and crop_id not in self._damaged for crop_id in ids)
            self._rows.reserve(len(crops))
            self._database.upsert(crops, vectors, kept)
            self._rows.put(crops, vectors)
            self._damaged.difference_update(ids)
        return new

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        self._require_open()
        snapshot, (slot,) = self._rows.find([crop_id])
        return snapshot.crops[slot]

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop. Raises NotFound, also where none is stored."""
        self._require_open()
        return self._database.picture(crop_id)

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids."""
        self._require_open()
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        try:
            found = self._database.page(where, after, limit + 1, sorted(self._damaged))
        except Unavailable:
            self._require_open()  # deleted meanwhile: say so
            raise
        more = rules.encode_cursor(found[limit - 1].crop_id) if len(found) > limit else None
        return Page(tuple(found[:limit]), more)

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities, all or none, durable on return; embeddings stay as they are."""
        for crop_id, identity in labels.items():
            rules.check_text(crop_id, "identity", identity)
        with self._changing():
            changed = self._rows.differing(labels, origin)
            if changed:
                self._database.relabel(changed, origin)
                self._rows.relabel(changed, origin)
        return len(changed)

    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        """Delete what passes the filter, durable on return, or only tell what that would be."""
        with self._changing():
            doomed = self._database.matching(where)
            if doomed.crop_ids and not dry_run:
                self._database.delete(doomed.crop_ids)
                self._rows.remove(doomed.crop_ids)
                self._damaged.difference_update(doomed.crop_ids)
        return doomed.receipt

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of these crops, in this order. Raises NotFound."""
        self._require_open()
        snapshot, slots = self._rows.find(crop_ids)
        return snapshot.columns.vectors[np.array(slots, np.int64)]

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine; see :meth:`service.gallery.base.Gallery.query`."""
        self._require_open()
        rules.check_count("top_k", top_k)
        queries = rules.unit_rows(embeddings, None, self.dimension, lambda row: f"query {row}")
        snapshot, mask = self._rows.select(where)
        mirror = self._mirror
        if mirror is None:
            return nearest(snapshot, mask, queries, top_k)
        try:
            return nearest(snapshot, mask, queries, top_k, mirror)
        except RuntimeError as error:  # FAISS says so of a GPU that is out of memory or gone
            self._give_up_gpu(error)
            return nearest(snapshot, mask, queries, top_k)

    def query_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        asked: StandardisedQuery,
    ) -> list[StandardisedHits] | None:
        """Exact nearest crops by standardised cosine, on the CPU; see the base's method."""
        self._require_open()
        rules.check_count("top_k", asked.top_k)
        queries = rules.unit_rows(embeddings, None, self.dimension, lambda row: f"query {row}")
        snapshot, mask = self._rows.select(asked.where)
        return nearest_standardised(snapshot.standardised, mask, queries, cameras, asked)

    def stats(self) -> GalleryStats:
        """Counts at this moment."""
        snapshot = self._rows.now()
        return GalleryStats(
            name=self.name,
            model_sha256=self.model_sha256,
            dimension=self.dimension,
            created=self._database.header.created,
            crops=int(np.count_nonzero(snapshot.alive)),
            identities=snapshot.count_identities(),
            cameras=snapshot.count_cameras(),
            bytes_on_disk=_size_of(self._folder),
            damaged=len(self._damaged),
            pictures=self._database.pictures,
            **asdict(self.options),
            oldest=snapshot.oldest(),
        )

    def retire(self, into: Path) -> int:
        """Move the gallery's folder away and stop serving it.

        Args:
            into: the folder's new path; must not exist.

        Returns:
            How many crops it held.

        Raises:
            OSError: the folder cannot be moved; the gallery goes on.
        """
        with self._changing():
            self._state = "deleted"
            try:
                self._folder.rename(into)
            except OSError:
                self._state = "open"
                raise
            self._mirror = None
            with suppress(ReidError):  # its files are about to be removed
                self._database.close()
            return len(self._rows) + len(self._damaged)

    def close(self) -> None:
        """Finish the write in progress and release the file."""
        with self._writing:
            if self._state == "open":
                self._state = "closed"
                self._mirror = None
                self._database.close()

    def _load(self) -> None:
        for batch in self._database.batches():
            self._rows.put(batch.crops, batch.embeddings)
            self._damaged.update(batch.damaged)
        self._rows.renew_standards()
        if self._damaged:
            named = sorted(self._damaged)
            _log.warning(
                "gallery %r: %d crops with a damaged embedding are not served; index or delete "
                "them again: %s%s",
                self.name,
                len(named),
                ", ".join(map(repr, named[:_NAMED_IN_LOG])),
                ", ..." if len(named) > _NAMED_IN_LOG else "",
            )

    def _give_up_gpu(self, error: RuntimeError) -> None:
        if self._gpu is not None and self._gpu.required:
            raise Unavailable(f"gallery {self.name!r}: the GPU failed: {error}") from error
        _log.warning("gallery %r is searched on the CPU from now on: %s", self.name, error)
        self._mirror = None

    def _require_open(self) -> None:
        if self._state == "deleted":
            raise NotFound(f"gallery {self.name!r} does not exist")
        if self._state == "closed":
            raise Unavailable(f"gallery {self.name!r} is closed")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._writing:
            self._require_open()
            yield


def _size_of(folder: Path) -> int:
    size = 0
    with suppress(FileNotFoundError):  # deleted meanwhile
        for entry in folder.iterdir():
            with suppress(FileNotFoundError):  # SQLite removes its log when it is empty
                size += entry.stat().st_size
    return size
