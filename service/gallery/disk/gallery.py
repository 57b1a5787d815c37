"""One gallery on this machine: a database, and the rows in memory that follow it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from service.errors import NotFound, ReidError, Replaced, StorageFull, Unavailable
from service.gallery import rules
from service.gallery.allocation import rows_at
from service.gallery.base import (
    Absent,
    Crop,
    Filter,
    GalleryOptions,
    GalleryStats,
    Hit,
    Origin,
    Page,
    Receipt,
)
from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.folders import size_of
from service.gallery.disk.memory_copy import MemoryCopy
from service.gallery.disk.model_versions import ModelVersions
from service.gallery.disk.reading import Counts
from service.gallery.protocol import Gallery
from service.gallery.rows.live_rows import LiveRows
from service.gallery.standardising.search import StandardisedScan, scan_standardised
from service.gallery.unit_rows import unit_rows

_State = Literal["open", "closed", "deleted", "dropped", "replaced"]


class DiskGallery(Gallery):
    """A gallery in SQLite, of which a copy in memory answers queries.

    A write is drafted in memory, committed by SQLite, and then shown to queries. If showing it
    fails, the rows are read again: the database is the truth. Queries read a view of the rows and
    wait neither for a write nor for each other. Crops are erased from the other versions first and
    from the served version last.

    Args:
        database: its open file; the gallery closes it.
        versions: what it shares with the gallery's other versions.
        served: whether this is the version that is served. Another version is loaded into memory
            when it is first searched or filled.

    Raises:
        Unavailable: the file cannot be read.
    """

    def __init__(
        self, database: GalleryDatabase, versions: ModelVersions[DiskGallery], *, served: bool
    ) -> None:
        self.versions = versions
        self.served = served
        self.database = database
        """The truth; nobody else writes to it."""
        self.memory = MemoryCopy(database, versions, self._require_open)
        self._state: _State = "open"
        if served:
            self.memory.rows()

    @property
    @override
    def name(self) -> str:
        return self.versions.folder.name

    @property
    @override
    def model_sha256(self) -> str:
        return self.database.header.model_sha256

    @property
    @override
    def dimension(self) -> int:
        return self.database.header.dimension

    @property
    @override
    def options(self) -> GalleryOptions:
        return self.database.header.options

    @override
    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of all versions; see :meth:`service.gallery.protocol.Gallery.changing`."""
        with self.versions.lock:
            self._require_open()
            if self._state == "replaced":
                raise Replaced(
                    f"gallery {self.name!r} was replaced as a whole: send the request again"
                )
            yield

    @override
    def configure(self, options: GalleryOptions) -> None:
        rules.check_options(options)
        with self.changing():
            for version in (*self._beside(), self):
                version.database.configure(options)

    @override
    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        crops = [rules.checked_crop(crop) for crop in crops]
        vectors = unit_rows(
            embeddings, len(crops), self.dimension, lambda row: f"crop {crops[row].crop_id!r}"
        )
        rules.check_pictures(pictures, len(crops))
        positions, now = rules.last_of_each(crops), time.time()
        crops = [rules.with_time(crops[position], now) for position in positions]
        vectors = vectors[positions]
        ids = [crop.crop_id for crop in crops]
        with self.changing():
            kept = None
            if pictures is not None and self.options.store_crops:
                kept = [pictures[position] for position in positions]
            self._require_reserve()
            memory = self.memory.rows()
            new = sum(crop_id not in memory for crop_id in ids)
            draft = memory.rows.putting(crops, vectors)
            self.database.upsert(crops, vectors, kept)
            self.memory.show(draft, ids)
        return new

    @override
    def get(self, crop_id: str) -> Crop:
        self._require_open()
        view, (slot,) = self._rows.find([crop_id])
        return view.crops[slot]

    @override
    def picture(self, crop_id: str) -> bytes:
        self._require_open()
        return self.database.picture(crop_id)

    @override
    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        self._require_open()
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        memory = self.memory.present
        hidden = () if memory is None else sorted(memory.damaged)
        try:
            found = self.database.page(where, after, limit + 1, hidden)
        except Unavailable:
            self._require_open()  # if it was deleted meanwhile, raise NotFound instead
            raise
        more = rules.encode_cursor(found[limit - 1].crop_id) if len(found) > limit else None
        return Page(tuple(found[:limit]), more)

    @override
    def crops(self, where: Filter) -> list[Crop]:
        self._require_open()
        view, mask = self._rows.select(where)
        found = [view.crops[slot] for slot in np.flatnonzero(mask).tolist()]
        return sorted(found, key=lambda crop: crop.crop_id)

    @override
    def count(self, where: Filter) -> int:
        self._require_open()
        _, mask = self._rows.select(where)
        return int(np.count_nonzero(mask))

    @override
    def absent(self, where: Filter) -> Absent:
        self._require_open()
        return self.memory.rows().absent(where)

    @override
    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        labels = rules.checked_labels(labels)
        with self.changing():
            return self._describe(self._rows.labelled(labels, origin))

    @override
    def describe(self, crops: Sequence[Crop]) -> int:
        crops = [rules.checked_crop(crop) for crop in crops]
        with self.changing():
            return self._describe(crops)

    @override
    def pictured(self, where: Filter) -> set[str]:
        self._require_open()
        return self.database.pictured(where)

    def damaged(self) -> frozenset[str]:
        """Ids of crops that are stored but not served, because their embedding is damaged."""
        self._require_open()
        return frozenset(self.memory.rows().damaged)

    def holds(self, digests: Collection[str]) -> bool:
        """Whether a crop has one of these digests, or the gallery cannot tell."""
        try:
            self._require_open()
            return self.database.holds(digests)
        except NotFound:
            return False
        except ReidError:
            return True

    def add_pictures(self, pictures: Mapping[str, bytes]) -> int:
        """Store missing pictures of crops, all or none, durable on return.

        Args:
            pictures: image files by crop id. A picture is ignored if its crop does not exist, has
                another digest or already has a picture. All are ignored if the gallery stores no
                crops.

        Returns:
            Number of pictures stored.
        """
        with self.changing():
            if not self.options.store_crops:
                return 0
            self._require_reserve()
            given = Filter(crop_ids=frozenset(pictures))
            lacking = pictures.keys() - self.database.pictured(given)
            stored = self.crops(Filter(crop_ids=frozenset(lacking)))
            fitting = {
                crop.crop_id: pictures[crop.crop_id]
                for crop in stored
                if crop.digest == hashlib.sha256(pictures[crop.crop_id]).hexdigest()
            }
            if fitting:
                self.database.add_pictures(fitting)
            return len(fitting)

    @override
    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        with self.changing():
            matching = self.database.matching(where)
            ids = set(matching.crop_ids)
            if not dry_run:
                # The served version comes last, so that an interrupted deletion can be repeated.
                for version in self._beside():
                    left = version.left_behind(where, self)
                    version.erase([*ids, *left])
                    matching.crop_ids.extend(left - {*matching.crop_ids})
                self.erase([*ids])
        snapshots = self.versions.holding(matching.crop_ids) if self.served else ()
        return replace(matching.receipt, snapshots=snapshots)

    @override
    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        self._require_open()
        view, slots = self._rows.find(crop_ids)
        return rows_at(view.columns.vectors, np.array(slots, np.int64))

    @override
    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        self._require_open()
        rules.check_count("top_k", top_k)
        queries = unit_rows(embeddings, None, self.dimension, lambda row: f"query {row}")
        return self.memory.rows().nearest(queries, top_k, where)

    @override
    def scan_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        where: Filter,
        least: float = -1.0,
    ) -> StandardisedScan | None:
        self._require_open()
        queries = unit_rows(embeddings, None, self.dimension, lambda row: f"query {row}")
        view, mask = self._rows.select(where)
        return scan_standardised(view.standardised, mask, queries, cameras, least)

    @override
    def stats(self) -> GalleryStats:
        self._require_open()
        counts = self._counts()
        return GalleryStats(
            name=self.name,
            model_sha256=self.model_sha256,
            dimension=self.dimension,
            created=self.database.header.created,
            crops=counts.crops,
            identities=counts.identities,
            cameras=counts.cameras,
            bytes_on_disk=size_of(self.versions.folder),
            damaged=0 if (memory := self.memory.present) is None else len(memory.damaged),
            pictures=counts.pictures,
            **asdict(self.options),
            oldest=counts.oldest,
        )

    def retire(self, into: Path) -> int:
        """Move the gallery's folder away and stop serving every version.

        Args:
            into: the folder's new path; must not exist.

        Returns:
            Number of crops it held.

        Raises:
            OSError: the folder cannot be moved; the gallery is still served.
        """
        with self.changing():
            crops = self.database.counts().crops
            self.versions.folder.rename(into)
            for version in (*self.versions.kept.values(), self):
                version.end("deleted")
            return crops

    def stand_by(self) -> None:
        """Load the rows into memory now, so that the first search need not wait."""
        self.memory.rows()

    def replaced(self) -> DiskGallery:
        """Stop serving this version but keep it; threads that still hold it may continue reading.

        Returns:
            The version that is kept.
        """
        self._state = "replaced"
        return DiskGallery(self.database, self.versions, served=False)

    def end(self, state: Literal["closed", "deleted", "dropped", "replaced"]) -> None:
        """Close this version's file; one that was replaced can still be read from memory.

        Raises:
            Unavailable: the write-ahead log could not be folded into the file.
        """
        if self._state != "open":
            return
        self._state = state
        if state != "replaced":
            self.memory.let_go()
        with suppress(ReidError) if state != "closed" else nullcontext():
            self.database.close()

    def compact(self) -> None:
        """Remove old copies of erased metadata from every version's file."""
        with self.changing():
            for version in (*self._beside(), self):
                version.database.compact()

    def tidy(self, idle_seconds: float) -> None:
        """Compact every version that is due, and let go of those that nobody uses.

        Args:
            idle_seconds: a version beside the served one leaves memory if nobody has searched or
                filled it for so long.
        """
        with self.changing():
            for version in (*self._beside(), self):
                version.database.tidy()
                if version is not self:
                    version.memory.rest(idle_seconds)

    def close(self) -> None:
        """Finish the write in progress and close every version's file."""
        with self.versions.lock, ExitStack() as closing:  # a failure skips no other version
            for version in (*self.versions.kept.values(), self):
                closing.callback(version.end, "closed")

    def left_behind(self, where: Filter, served: DiskGallery) -> set[str]:
        """Crops that pass a filter and exist only in this version because a switch left them out.

        Args:
            where: the filter.
            served: the version that is served; it decides about the crops it holds.
        """
        known = served.memory.rows()
        found = self.database.matching(where).crop_ids
        return {crop_id for crop_id in found if crop_id not in known}

    def erase(self, crop_ids: Sequence[str]) -> None:
        """Delete crops from this version only; the caller holds the lock.

        On a full disk this uses the disk space reserved for erasures, in parts small enough to fit.
        """
        if not crop_ids:
            return
        try:
            self._erase(crop_ids)
        except StorageFull:
            with self.versions.reserve.given("shared"):
                self._erase_in_parts(crop_ids)

    def _erase_in_parts(self, crop_ids: Sequence[str]) -> None:
        try:
            self._erase(crop_ids, sparing=True)
        except StorageFull:
            if len(crop_ids) == 1:
                raise
            middle = len(crop_ids) // 2
            self._erase_in_parts(crop_ids[:middle])
            self._erase_in_parts(crop_ids[middle:])

    def _erase(self, crop_ids: Sequence[str], *, sparing: bool = False) -> None:
        memory, draft = self.memory.present, None
        try:
            draft = None if memory is None else memory.rows.removing(crop_ids)
        except MemoryError:  # an erasure must not fail for that: the rows are read again later
            memory = None
            self.memory.let_go()
        self.database.erase(crop_ids, sparing=sparing)
        if draft is not None:
            self.memory.show(draft, crop_ids)

    def _describe(self, crops: Sequence[Crop]) -> int:
        changed = self._rows.redescribed(crops)
        if changed:
            draft = self._rows.describing(changed)
            self.database.describe(changed)
            self.memory.show(draft)
        return len(changed)

    def _beside(self) -> tuple[DiskGallery, ...]:
        return tuple(self.versions.kept.values()) if self.served else ()

    def _counts(self) -> Counts:
        memory = self.memory.present
        if memory is None:
            try:
                return self.database.counts()
            except Unavailable:
                self._require_open()  # if it was deleted meanwhile, raise NotFound instead
                raise
        return memory.counts(self.database.pictures)

    @property
    def _rows(self) -> LiveRows:
        return self.memory.rows().rows

    def _require_reserve(self) -> None:
        """Refuse new crops while the disk space reserved for erasures is in use."""
        if not self.versions.reserve.keep():
            raise StorageFull(f"gallery {self.name!r}: the disk is full")

    def _require_open(self) -> None:
        if self._state == "deleted":
            raise NotFound(f"gallery {self.name!r} does not exist")
        if self._state == "dropped":
            model = self.model_sha256[:12]
            raise NotFound(f"gallery {self.name!r} has no version for model {model} any more")
        if self._state == "closed":
            raise Unavailable(f"gallery {self.name!r} is closed")
