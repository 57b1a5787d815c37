"""One gallery on this machine: a database and the rows in memory, kept in step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound, ReidError, Unavailable
from service.gallery import rules
from service.gallery.base import Crop, Filter, GalleryStats, Hit, Page
from service.gallery.database import GalleryDatabase
from service.gallery.nearest import Gpu, nearest
from service.gallery.snapshot import LiveRows

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
        self._rows = LiveRows(self._database.dimension)
        self._damaged: set[str] = set()
        self._gpu = gpu
        self._mirror = gpu.mirror(self._database.dimension) if gpu else None
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
        return self._database.model_sha256

    def upsert(self, crops: Sequence[Crop], embeddings: NDArray[np.float32]) -> int:
        """Insert or replace crops by id, all or none, durable on return.

        Args:
            crops: N crops; when an id occurs twice the last one wins.
            embeddings: (N, D) float32, unit rows; row i belongs to crop i.

        Returns:
            How many ids were new.

        Raises:
            InvalidInput: a crop or an embedding breaks its rule.
            StorageFull: the disk refused the write.
        """
        for crop in crops:
            rules.check_crop(crop)
        vectors = rules.unit_rows(
            embeddings,
            len(crops),
            self._database.dimension,
            lambda row: f"crop {crops[row].crop_id!r}",
        )
        positions = rules.last_of_each(crops)
        crops, vectors = [crops[position] for position in positions], vectors[positions]
        ids = [crop.crop_id for crop in crops]
        with self._changing():
            new = sum(crop_id not in self._rows and crop_id not in self._damaged for crop_id in ids)
            self._rows.reserve(len(crops))
            self._database.upsert(crops, vectors)
            self._rows.put(crops, vectors)
            self._damaged.difference_update(ids)
        return new

    def get(self, crop_id: str) -> Crop:
        """One crop.

        Args:
            crop_id: its id.

        Returns:
            The crop.

        Raises:
            NotFound: it is not in the gallery.
        """
        self._require_open()
        snapshot, (slot,) = self._rows.find([crop_id])
        return snapshot.crops[slot]

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids.

        Args:
            where: which crops to list.
            limit: at most this many, >= 1.
            cursor: of the page before; None for the first.

        Returns:
            The page.

        Raises:
            InvalidInput: a broken cursor, or a limit below one.
        """
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

    def delete(self, where: Filter) -> int:
        """Delete what passes the filter, durable on return.

        Args:
            where: which crops; the empty filter deletes all.

        Returns:
            How many.

        Raises:
            StorageFull: the disk refused the write.
        """
        with self._changing():
            deleted = self._database.delete(where)
            self._rows.remove(deleted)
            self._damaged.difference_update(deleted)
        return len(deleted)

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of these crops.

        Args:
            crop_ids: N ids.

        Returns:
            (N, D) float32, unit rows, in this order.

        Raises:
            NotFound: an id is not in the gallery.
        """
        self._require_open()
        snapshot, slots = self._rows.find(crop_ids)
        return snapshot.columns.vectors[np.array(slots, np.int64)]

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine.

        Args:
            embeddings: (Q, D) float32, unit rows.
            top_k: at most this many hits a row, >= 1.
            where: which crops take part.

        Returns:
            Q lists of hits, best first; ties in the order of crop ids.

        Raises:
            InvalidInput: wrong shape, a non-finite or non-unit row, top_k below one.
            Unavailable: the GPU failed and the setting insists on it.
        """
        self._require_open()
        rules.check_count("top_k", top_k)
        queries = rules.unit_rows(
            embeddings, None, self._database.dimension, lambda row: f"query {row}"
        )
        snapshot, mask = self._rows.select(where)
        mirror = self._mirror
        if mirror is None:
            return nearest(snapshot, mask, queries, top_k)
        try:
            return nearest(snapshot, mask, queries, top_k, mirror)
        except RuntimeError as error:  # FAISS says so of a GPU that is out of memory or gone
            self._give_up_gpu(error)
            return nearest(snapshot, mask, queries, top_k)

    def stats(self) -> GalleryStats:
        """Counts at this moment."""
        snapshot = self._rows.now()
        return GalleryStats(
            name=self.name,
            model_sha256=self.model_sha256,
            dimension=self._database.dimension,
            created=self._database.created,
            crops=int(np.count_nonzero(snapshot.alive)),
            identities=snapshot.count_identities(),
            cameras=snapshot.count_cameras(),
            bytes_on_disk=_size_of(self._folder),
            damaged=len(self._damaged),
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
