"""One gallery on this machine: a database and the rows in memory, kept in step."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound, ReidError, Replaced, StorageFull, Unavailable
from service.gallery import rules
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
    StandardisedHits,
    StandardisedQuery,
)
from service.gallery.disk.database import Counts, GalleryDatabase
from service.gallery.disk.versions import Versions
from service.gallery.rows.live_rows import Draft, LiveRows
from service.gallery.rows.nearest import Mirror, nearest
from service.gallery.standardising.search import nearest_standardised

_State = Literal["open", "closed", "deleted", "dropped", "replaced"]
_NAMED_IN_LOG = 20
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Loaded:
    """A gallery in memory.

    Attributes:
        rows: crops and embeddings.
        damaged: crops on disk whose embedding is damaged.
        mirror: a copy of the rows on the GPU.
    """

    rows: LiveRows
    damaged: set[str]
    mirror: Mirror | None


class LocalGallery:
    """One named set of crops; its methods are those of :class:`service.gallery.base.Gallery`.

    A write is drafted in memory, committed by SQLite, and then shown to queries. Should showing it
    fail, the rows are read anew: what SQLite holds is the truth. Queries read a snapshot of the
    rows and wait neither for a write nor for each other. What is erased from the version that is
    served is erased from all the others before.

    Args:
        database: its open file, which it closes.
        versions: what it shares with the gallery's other versions.
        served: whether this is the version that is served. Another one comes into memory when it is
            first searched or filled.

    Raises:
        Unavailable: the file cannot be read.
    """

    def __init__(self, database: GalleryDatabase, versions: Versions, *, served: bool) -> None:
        self.name = versions.folder.name
        self.versions = versions
        self.served = served
        self.database = database
        """The truth; nobody else writes to it."""
        self._memory: _Loaded | None = None
        self._state: _State = "open"
        if served:
            self._in_memory()

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        return self.database.header.model_sha256

    @property
    def dimension(self) -> int:
        """Length of its embeddings."""
        return self.database.header.dimension

    @property
    def options(self) -> GalleryOptions:
        """What its owner decided."""
        return self.database.header.options

    def configure(self, options: GalleryOptions) -> None:
        """Change the options, durable on return; without ``store_crops`` pictures are erased."""
        rules.check_options(options)
        with self.changing():
            for version in (*self._beside(), self):
                version.database.configure(options)

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id, all or none, durable on return."""
        crops = [rules.checked_crop(crop) for crop in crops]
        vectors = rules.unit_rows(
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
            rows, damaged = self._rows, self._in_memory().damaged
            new = sum(crop_id not in rows and crop_id not in damaged for crop_id in ids)
            draft = rows.putting(crops, vectors)
            self.database.upsert(crops, vectors, kept)
            self._show(draft, ids)
        return new

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        self._require_open()
        snapshot, (slot,) = self._rows.find([crop_id])
        return snapshot.crops[slot]

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop. Raises NotFound, also where none is stored."""
        self._require_open()
        return self.database.picture(crop_id)

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids."""
        self._require_open()
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        memory = self._memory
        hidden = () if memory is None else sorted(memory.damaged)
        try:
            found = self.database.page(where, after, limit + 1, hidden)
        except Unavailable:
            self._require_open()  # deleted meanwhile: say so
            raise
        more = rules.encode_cursor(found[limit - 1].crop_id) if len(found) > limit else None
        return Page(tuple(found[:limit]), more)

    def crops(self, where: Filter) -> list[Crop]:
        """Every crop that passes the filter, in the order of their ids, from memory."""
        self._require_open()
        snapshot, mask = self._rows.select(where)
        found = [snapshot.crops[slot] for slot in np.flatnonzero(mask).tolist()]
        return sorted(found, key=lambda crop: crop.crop_id)

    def count(self, where: Filter) -> int:
        """How many crops pass the filter."""
        self._require_open()
        _, mask = self._rows.select(where)
        return int(np.count_nonzero(mask))

    def absent(self, where: Filter) -> Absent:
        """Which cameras, identities and crop ids of a filter no crop has."""
        self._require_open()
        memory = self._in_memory()
        known = memory.rows
        gone = sorted(
            crop_id
            for crop_id in where.crop_ids or ()
            if crop_id not in known and crop_id not in memory.damaged
        )
        return replace(known.now().absent(where), crop_ids=tuple(gone))

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities, all or none, durable on return; embeddings stay as they are."""
        labels = rules.checked_labels(labels)
        with self.changing():
            return self._describe(self._rows.labelled(labels, origin))

    def describe(self, crops: Sequence[Crop]) -> int:
        """Change what is known of stored crops, all or none, durable on return."""
        crops = [rules.checked_crop(crop) for crop in crops]
        with self.changing():
            return self._describe(crops)

    def pictured(self, where: Filter) -> set[str]:
        """Ids of the crops that pass the filter and whose picture is stored."""
        self._require_open()
        return self.database.pictured(where)

    def damaged(self) -> frozenset[str]:
        """Ids of the crops that are stored but not served, because their embedding is damaged."""
        self._require_open()
        return frozenset(self._in_memory().damaged)

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
        """Store pictures of crops that lack theirs, all or none, durable on return.

        Args:
            pictures: image files by the ids of their crops. One is passed over where its crop is
                gone, has another digest or has a picture, and all are where crops are not stored.

        Returns:
            How many were stored.
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

    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        """Delete what passes the filter, durable on return, or only tell what that would be."""
        with self.changing():
            doomed = self.database.matching(where)
            ids = set(doomed.crop_ids)
            if not dry_run:
                # The served version last: whatever interrupts this, it can be asked for again.
                for version in self._beside():
                    left = version.left_behind(where, self)
                    version.erase([*ids, *left])
                    doomed.crop_ids.extend(left - {*doomed.crop_ids})
                self.erase([*ids])
        snapshots = self.versions.holding(doomed.crop_ids) if self.served else ()
        return replace(doomed.receipt, snapshots=snapshots)

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
        memory = self._in_memory()
        snapshot, mask = memory.rows.select(where)
        if memory.mirror is None:
            return nearest(snapshot, mask, queries, top_k)
        try:
            return nearest(snapshot, mask, queries, top_k, memory.mirror)
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
            bytes_on_disk=_size_of(self.versions.folder),
            damaged=0 if (memory := self._memory) is None else len(memory.damaged),
            pictures=counts.pictures,
            **asdict(self.options),
            oldest=counts.oldest,
        )

    def retire(self, into: Path) -> int:
        """Move the gallery's folder away and stop serving every version.

        Args:
            into: the folder's new path; must not exist.

        Returns:
            How many crops it held.

        Raises:
            OSError: the folder cannot be moved; the gallery goes on.
        """
        with self.changing():
            crops = self.database.counts().crops
            self.versions.folder.rename(into)
            for version in (*self.versions.kept.values(), self):
                version.end("deleted")
            return crops

    def stand_by(self) -> None:
        """Come into memory now, so that the first search need not wait."""
        self._in_memory()

    def replaced(self) -> LocalGallery:
        """Stop serving this version and keep it beside; whoever holds it may read on.

        Returns:
            The version that is kept.
        """
        self._state = "replaced"
        return LocalGallery(self.database, self.versions, served=False)

    def end(self, state: Literal["closed", "deleted", "dropped", "replaced"]) -> None:
        """Let go of this version's file; one that is replaced may be read on, from memory.

        Raises:
            Unavailable: the write-ahead log could not be folded into the file.
        """
        if self._state != "open":
            return
        self._state = state
        if state != "replaced":
            self._memory = None
        with suppress(ReidError) if state != "closed" else nullcontext():
            self.database.close()

    def compact(self) -> None:
        """Remove what erasures may have left behind, in every version."""
        with self.changing():
            for version in (*self._beside(), self):
                version.database.compact()

    def tidy(self) -> None:
        """Compact every version for which it is time."""
        with self.changing():
            for version in (*self._beside(), self):
                version.database.tidy()

    def close(self) -> None:
        """Finish the write in progress and release every version's file."""
        with self.versions.lock, ExitStack() as closing:  # a failure skips no other version
            for version in (*self.versions.kept.values(), self):
                closing.callback(version.end, "closed")

    def left_behind(self, where: Filter, served: LocalGallery) -> set[str]:
        """Crops that pass a filter and that a switch left in this version, of which nobody decides.

        Args:
            where: the filter.
            served: the version that is served; what it holds is decided there.
        """
        known = served._in_memory()
        return {
            crop_id
            for crop_id in self.database.matching(where).crop_ids
            if crop_id not in known.rows and crop_id not in known.damaged
        }

    def erase(self, crop_ids: Sequence[str]) -> None:
        """Delete crops from this version only; the caller holds the lock.

        On a full disk this uses the room that is kept for it, for as many crops at a time as fit.
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
        try:
            draft = None if self._memory is None else self._memory.rows.removing(crop_ids)
        except MemoryError:  # an erasure must not fail for that: the rows are read anew
            self._memory = draft = None
        self.database.erase(crop_ids, sparing=sparing)
        if draft is not None:
            self._show(draft, crop_ids)

    def _describe(self, crops: Sequence[Crop]) -> int:
        changed = self._rows.redescribed(crops)
        if changed:
            draft = self._rows.describing(changed)
            self.database.describe(changed)
            self._show(draft)
        return len(changed)

    def _show(self, draft: Draft, sound: Sequence[str] = ()) -> None:
        """Let queries read what was committed; the write has succeeded, so this must not fail."""
        if self._memory is None:
            return
        try:
            self._memory.rows.show(draft)
            self._memory.damaged.difference_update(sound)
        except BaseException as error:
            self._memory = None
            _log.warning("gallery %r is read anew from its file: %r", self.name, error)
            if not isinstance(error, Exception):
                raise

    def _beside(self) -> tuple[LocalGallery, ...]:
        return tuple(self.versions.kept.values()) if self.served else ()

    def _counts(self) -> Counts:
        memory = self._memory
        if memory is None:
            try:
                return self.database.counts()
            except Unavailable:
                self._require_open()  # deleted meanwhile: say so
                raise
        snapshot = memory.rows.now()
        return Counts(
            crops=int(np.count_nonzero(snapshot.alive)),
            pictures=self.database.pictures,
            identities=snapshot.count_identities(),
            oldest=snapshot.oldest(),
            cameras=snapshot.count_cameras(),
        )

    @property
    def _rows(self) -> LiveRows:
        return self._in_memory().rows

    def _in_memory(self) -> _Loaded:
        memory = self._memory
        if memory is None:
            with self.versions.lock:
                memory = self._memory = self._memory or self._load()
        return memory

    def _load(self) -> _Loaded:
        self._require_open()
        rows, gpu = LiveRows(self.dimension), self.versions.gpu
        with uncollected():
            stored = self.database.load()
            rows.load(stored.crops, stored.embeddings, stored.sound)
        damaged = {stored.crops[at].crop_id for at in np.flatnonzero(~stored.sound).tolist()}
        if damaged:
            named = sorted(damaged)
            _log.warning(
                "gallery %r: %d crops with a damaged embedding are not served; index or delete "
                "them again: %s%s",
                self.name,
                len(named),
                ", ".join(map(repr, named[:_NAMED_IN_LOG])),
                ", ..." if len(named) > _NAMED_IN_LOG else "",
            )
        return _Loaded(rows, damaged, gpu.mirror(self.dimension) if gpu else None)

    def _give_up_gpu(self, error: RuntimeError) -> None:
        gpu = self.versions.gpu
        if gpu is not None and gpu.required:
            raise Unavailable(f"gallery {self.name!r}: the GPU failed: {error}") from error
        _log.warning("gallery %r is searched on the CPU from now on: %s", self.name, error)
        if self._memory is not None:
            self._memory.mirror = None

    def _require_reserve(self) -> None:
        """Take nothing new while the room for erasures is in use: it would take that."""
        if not self.versions.reserve.keep():
            raise StorageFull(f"gallery {self.name!r}: the disk is full")

    def _require_open(self) -> None:
        if self._state == "deleted":
            raise NotFound(f"gallery {self.name!r} does not exist")
        if self._state == "dropped":
            model = self.model_sha256[:12]
            raise NotFound(f"gallery {self.name!r} has no version of model {model} any more")
        if self._state == "closed":
            raise Unavailable(f"gallery {self.name!r} is closed")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock of all versions; see :meth:`service.gallery.base.Gallery.changing`."""
        with self.versions.lock:
            self._require_open()
            if self._state == "replaced":
                raise Replaced(f"gallery {self.name!r} was changed as a whole: ask again")
            yield


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking over a million new objects again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _size_of(folder: Path) -> int:
    size = 0
    with suppress(FileNotFoundError):  # deleted meanwhile
        for entry in folder.iterdir():
            with suppress(FileNotFoundError):  # SQLite removes its log when it is empty
                size += entry.stat().st_size
    return size
