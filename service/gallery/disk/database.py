"""One gallery's SQLite file: the source of truth, from which everything else is rebuilt."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import IN_MEMORY, Allocation
from service.gallery.base import Crop, GalleryOptions
from service.gallery.disk import segments
from service.gallery.disk.conditions import as_json
from service.gallery.disk.header import Header, read_header, require_format
from service.gallery.disk.loading import Stored, load
from service.gallery.disk.pictures import new_key, veiled
from service.gallery.disk.reading import FIELDS, GalleryReader
from service.gallery.disk.schema import CREATE_CROPS, CREATE_DIGEST_INDEX, CREATE_INDEX, SCHEMA
from service.machine.sqlite import answering, connect

_log = logging.getLogger(__name__)
_LOG_PATIENCE_MS = 500
_FEW = 10_000  # up to this many crops, the metadata is rewritten in a moment
_REST = 50.0  # the next compaction waits this many times as long as the last one took
_PATIENCE_MS = 30_000

_UPSERT_CROP = f"""
INSERT INTO crops (id, {FIELDS}, picture_key, crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (crop_id) DO UPDATE SET identity = excluded.identity, camera = excluded.camera,
    timestamp = excluded.timestamp, digest = excluded.digest, origin = excluded.origin,
    added = excluded.added, track = excluded.track, picture_key = excluded.picture_key,
    crc32 = excluded.crc32
"""  # noqa: S608 - fixed texts
_UPSERT_PICTURE = """
INSERT INTO pictures (crop, data) VALUES (?, ?)
ON CONFLICT (crop) DO UPDATE SET data = excluded.data
"""
_DESCRIBE_CROP = """
UPDATE crops SET identity = ?, camera = ?, timestamp = ?, digest = ?, origin = ?, added = ?,
    track = ?
WHERE crop_id = ?
"""
_PLACES = """
SELECT crop_id, id, picture_key, digest FROM crops
WHERE crop_id IN (SELECT value FROM json_each(?))
"""
_COMPACT = f"""
{CREATE_CROPS.format(name="fresh")};
INSERT INTO fresh SELECT * FROM crops ORDER BY id;
DROP TABLE crops;
ALTER TABLE fresh RENAME TO crops;
{CREATE_INDEX};
{CREATE_DIGEST_INDEX};
UPDATE gallery SET unclean = 0
"""  # noqa: S608 - fixed texts


@dataclass(frozen=True, slots=True)
class _Known:
    """Where a crop is stored, and the key of its picture."""

    place: int
    picture_key: bytes | None
    digest: str | None


class GalleryDatabase(GalleryReader):
    """An open gallery file. Any thread may read; the caller lets only one write at a time.

    Args:
        path: an existing gallery file of the present format.

    Raises:
        Unavailable: the file is missing, damaged, or has another format.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._places: segments.Places | None = None
        self._log_unclean = False  # whether the log may still hold deleted data
        self._rested = 0.0  # when the next compaction may begin, in monotonic seconds
        with answering(path):
            self._writer = connect(path, "rw")
            try:
                require_format(path, self._writer)
                self.header = read_header(path, self._writer)
                _add_digest_index(path, self._writer)
            except BaseException:
                self._writer.close()
                raise
        self.pictures = 0
        """Number of crops with a stored picture; 0 until the gallery is loaded."""

    def load(self, allocation: Allocation = IN_MEMORY) -> Stored:
        """Read everything back; see :func:`service.gallery.disk.loading.load`."""
        stored = load(self.path, self.header.dimension, allocation)
        self._places = segments.Places.beside(stored.places)
        self.pictures = stored.pictures
        return stored

    @staticmethod
    def create(path: Path, header: Header) -> None:
        """Write an empty gallery and close it again.

        Args:
            path: the new file; must not exist.
            header: model, dimension, time of creation and options.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        options = header.options
        with answering(path), closing(connect(path, "rwc")) as connection:
            connection.executescript(SCHEMA)
            connection.execute(
                "INSERT INTO gallery VALUES (?, ?, ?, ?, ?, ?, 0)",
                (
                    *(header.model_sha256, header.dimension, header.created),
                    *(options.store_crops, options.keep_for, options.join),
                ),
            )

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None,
    ) -> None:
        """Insert or replace crops, all or none, durable on return.

        Args:
            crops: N crops with distinct ids.
            embeddings: (N, D) float32.
            pictures: N image files. Without them a replaced crop keeps its picture if its digest
                is unchanged, and loses it otherwise.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        ids = [crop.crop_id for crop in crops]
        checksums = segments.checksums_of(embeddings)
        with self._transaction() as writer:
            known = {row[0]: _Known(*row[1:]) for row in writer.execute(_PLACES, [as_json(ids)])}
            allocator = self._allocator(writer)
            free = iter(allocator.next(len(ids) - len(known)))
            places = [known[key].place if key in known else next(free) for key in ids]
            fresh = [new_key() for _ in pictures or ()]
            keys: Sequence[bytes | None] = fresh
            if pictures is None:
                keys = [_kept_key(crop, known.get(crop.crop_id)) for crop in crops]
            fields = zip(places, crops, keys, checksums, strict=True)
            writer.executemany(
                _UPSERT_CROP, ((at, *row_of(crop), key, crc) for at, crop, key, crc in fields)
            )
            segments.write_rows(writer, places, embeddings)
            if pictures is not None:
                veils = map(veiled, pictures, fresh)
                writer.executemany(_UPSERT_PICTURE, zip(places, veils, strict=True))
            pictured = {at for at, key in zip(places, keys, strict=True) if key is not None}
            had = {one.place for one in known.values() if one.picture_key is not None}
            stale = [(place,) for place in sorted(had - pictured)]
            writer.executemany("DELETE FROM pictures WHERE crop = ?", stale)
        self.pictures += len(pictured) - len(had)
        try:
            allocator.take(len(ids) - len(known))
        except MemoryError:  # the crops are stored; the next write finds free places again
            self._places = None

    def describe(self, crops: Sequence[Crop]) -> None:
        """Replace the metadata of stored crops, all or none, durable on return.

        Args:
            crops: N crops with their stored digests; ids that are not stored are ignored.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        with self._transaction() as writer:
            writer.executemany(
                _DESCRIBE_CROP, ((*row_of(crop)[1:], crop.crop_id) for crop in crops)
            )

    def add_pictures(self, pictures: Mapping[str, bytes]) -> None:
        """Store pictures of crops that have none, all or none, durable on return.

        Args:
            pictures: image files by crop id; ids that are not stored are ignored.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        added = 0
        with self._transaction() as writer:
            for crop_id, place, had, _ in writer.execute(_PLACES, [as_json(pictures)]).fetchall():
                if had is None:
                    key = new_key()
                    writer.execute("UPDATE crops SET picture_key = ? WHERE id = ?", (key, place))
                    writer.execute(_UPSERT_PICTURE, (place, veiled(pictures[crop_id], key)))
                    added += 1
        self.pictures += added

    def configure(self, options: GalleryOptions) -> None:
        """Change the options, durable on return; without ``store_crops`` pictures are erased."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE gallery SET store_crops = ?, keep_for = ?, joins = ?",
                (options.store_crops, options.keep_for, options.join),
            )
            if not options.store_crops:
                writer.execute("DELETE FROM pictures")
                erased = writer.execute(
                    "UPDATE crops SET picture_key = NULL WHERE picture_key IS NOT NULL"
                ).rowcount
                if erased:
                    self._compact_or_note(writer)
            header = read_header(self.path, writer)
        self.header = header
        if not options.store_crops:
            self.pictures = 0
            self.empty_log()

    def erase(self, crop_ids: Collection[str], *, sparing: bool = False) -> None:
        """Delete crops and overwrite their data, durable on return.

        Args:
            crop_ids: the crops; ids that are not stored are ignored.
            sparing: use little disk space, and leave the compaction to :meth:`tidy`.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        with self._transaction() as writer:
            rows = writer.execute(_PLACES, [as_json(crop_ids)]).fetchall()
            places = [place for _, place, *_ in rows]
            pictures = [(place,) for _, place, key, _ in rows if key is not None]
            writer.executemany("DELETE FROM pictures WHERE crop = ?", pictures)
            writer.executemany("DELETE FROM crops WHERE id = ?", ((place,) for place in places))
            segments.erase_rows(writer, places, self.header.dimension)
            if places and sparing:
                writer.execute("UPDATE gallery SET unclean = 1")
            elif places:
                self._compact_or_note(writer)
        self.pictures -= len(pictures)
        try:
            if self._places is not None:
                self._places.give_back(places)
        except MemoryError:  # the crops are deleted; the next write finds free places again
            self._places = None
        self.empty_log()

    def empty_log(self) -> None:
        """Empty the write-ahead log, which still holds deleted and replaced data.

        The deletion is already durable. A failure here only postpones the erasure to the next call
        and must not look like a failed deletion.
        """
        self._log_unclean = True
        try:
            # A long-running reader, such as a snapshot in progress, must not block the writer.
            self._writer.execute(f"PRAGMA busy_timeout = {_LOG_PATIENCE_MS}")
            try:
                busy, *_ = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        except sqlite3.Error as error:
            _log.warning("%s: the write-ahead log was not emptied: %s", self.path, error)
            return
        self._log_unclean = bool(busy)

    def compact(self) -> None:
        """Remove old copies of erased metadata, which large galleries do not do on every erasure.

        SQLite overwrites deleted rows, but splitting and merging pages leaves old copies in their
        unused parts. The metadata is rewritten into new pages, and the old ones are overwritten;
        embeddings and pictures stay where they are. Searches continue meanwhile.

        Raises:
            StorageFull: there is no room for a second copy of the metadata.
            Unavailable: the file cannot be written.
        """
        with answering(self.path):
            (unclean,) = self._writer.execute("SELECT unclean FROM gallery").fetchone()
        if unclean:
            start = time.monotonic()
            with self._transaction() as writer:
                _compact(writer)
            self._rested = time.monotonic() + _REST * (time.monotonic() - start)
            self._log_unclean = True
        if self._log_unclean:
            self.empty_log()

    def tidy(self) -> None:
        """Compact, unless the last compaction was recent compared to the time it took."""
        if time.monotonic() >= self._rested:
            self.compact()

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with answering(self.path):
            self._writer.close()

    def _compact_or_note(self, writer: sqlite3.Connection) -> None:
        few = writer.execute("SELECT 1 FROM crops LIMIT 1 OFFSET ?", [_FEW]).fetchone() is None
        if few:
            _compact(writer)
        else:
            writer.execute("UPDATE gallery SET unclean = 1")

    def _allocator(self, reader: sqlite3.Connection) -> segments.Places:
        if self._places is None:
            taken = reader.execute("SELECT id FROM crops ORDER BY id")
            self._places = segments.Places.beside(np.fromiter((row[0] for row in taken), np.int64))
        return self._places

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with answering(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        try:
            # On a full disk, SQLite may have rolled back by itself.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            # Closing the connection undoes what it could not roll back.
            _log.warning("%s: reopened after: %s", self.path, error)
            self._writer.close()
            self._writer = connect(self.path, "rw")


def _compact(writer: sqlite3.Connection) -> None:
    for statement in _COMPACT.split(";"):
        writer.execute(statement)


def _add_digest_index(path: Path, writer: sqlite3.Connection) -> None:
    """Add an index that older files lack; without it, only the search for copies is slower."""
    try:
        writer.execute(CREATE_DIGEST_INDEX)
    except sqlite3.Error as error:
        _log.warning("%s: the index of digests was not created: %s", path, error)


def _kept_key(crop: Crop, before: _Known | None) -> bytes | None:
    """The key of the stored picture, if it is still the picture of this crop."""
    if before is None or before.digest is None or before.digest != crop.digest:
        return None
    return before.picture_key


def row_of(crop: Crop) -> tuple[str | float | None, ...]:
    """A crop as the columns ``FIELDS``."""
    return (
        *(crop.crop_id, crop.identity, crop.camera, crop.timestamp),
        *(crop.digest, crop.origin, crop.added, crop.track),
    )
