"""One gallery's SQLite file: the truth that everything else is rebuilt from."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound, Unavailable
from service.gallery.base import Crop, Filter, GalleryOptions, Origin, Receipt
from service.gallery.conditions import as_json, condition
from service.gallery.schema import SCHEMA, bring_up_to_date
from service.gallery.sqlite import answering, connect

_log = logging.getLogger(__name__)
_ROWS_A_BATCH = 4096
_FIELDS = "crop_id, identity, camera, timestamp, digest, origin, added"

_UPSERT_CROP = f"""
INSERT INTO crops ({_FIELDS}, pictured) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (crop_id) DO UPDATE SET identity = excluded.identity, camera = excluded.camera,
    timestamp = excluded.timestamp, digest = excluded.digest, origin = excluded.origin,
    added = excluded.added, pictured = excluded.pictured
"""  # noqa: S608 - fixed texts
_UPSERT_EMBEDDING = """
INSERT INTO embeddings (crop, crc32, vector) SELECT id, ?, ? FROM crops WHERE crop_id = ?
ON CONFLICT (crop) DO UPDATE SET crc32 = excluded.crc32, vector = excluded.vector
"""
_UPSERT_PICTURE = """
INSERT INTO pictures (crop, data) SELECT id, ? FROM crops WHERE crop_id = ?
ON CONFLICT (crop) DO UPDATE SET data = excluded.data
"""
_DELETE_PICTURES = """
DELETE FROM pictures WHERE crop IN
    (SELECT id FROM crops WHERE crop_id IN (SELECT value FROM json_each(?)))
"""
_DELETE_CROPS = "DELETE FROM crops WHERE crop_id IN (SELECT value FROM json_each(?))"
_ALL_ROWS = f"""
SELECT {_FIELDS}, crc32, vector
FROM crops LEFT JOIN embeddings ON embeddings.crop = crops.id ORDER BY crops.id
"""  # noqa: S608 - fixed texts
_PICTURE = "SELECT data FROM pictures WHERE crop = (SELECT id FROM crops WHERE crop_id = ?)"


@dataclass(frozen=True, slots=True)
class Header:
    """What a gallery is, apart from its crops."""

    model_sha256: str
    dimension: int
    created: float
    options: GalleryOptions


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """Part of a gallery as read back from disk.

    Attributes:
        crops: crops whose embedding is sound.
        embeddings: (N, D) float32, row i of crop i.
        damaged: ids of crops whose embedding is missing, cut or altered.
    """

    crops: list[Crop]
    embeddings: NDArray[np.float32]
    damaged: list[str]


@dataclass(frozen=True, slots=True)
class Doomed:
    """Crops a filter would delete."""

    crop_ids: list[str]
    receipt: Receipt


class GalleryDatabase:
    """An open SQLite file. One thread writes at a time (the caller sees to it), any may read.

    Args:
        path: an existing gallery file; an older version is brought up to date.

    Raises:
        Unavailable: the file is missing, damaged, or of a newer version.
        StorageFull: an older version could not be brought up to date for want of room.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with answering(path):
            self._writer = connect(path, "rw")
            try:
                bring_up_to_date(path, self._writer)
                self.header = self._read_header()
                self._pictures = self._count_pictures()
            except BaseException:
                self._writer.close()
                raise

    @staticmethod
    def create(path: Path, header: Header) -> None:
        """Write an empty gallery and close it again.

        Args:
            path: where; must not exist.
            header: what the gallery is.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        options = header.options
        with answering(path), closing(connect(path, "rwc")) as connection:
            connection.executescript(SCHEMA)
            connection.execute(
                "INSERT INTO gallery VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(header.model_sha256, header.dimension, header.created),
                    *(options.store_crops, options.keep_for, options.join),
                ),
            )

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def pictures(self) -> int:
        """How many crops have a stored picture."""
        return self._pictures

    def batches(self) -> Iterator[StoredBatch]:
        """Read everything back, verifying each embedding.

        Yields:
            Batches in the order of insertion.

        Raises:
            Unavailable: SQLite cannot read the file.
        """
        with answering(self._path), closing(connect(self._path, "ro")) as reader:
            rows = reader.execute(_ALL_ROWS)
            while batch := rows.fetchmany(_ROWS_A_BATCH):
                yield self._verify(batch)

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
            pictures: N image files; None stores none, and erases those of replaced crops.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        blobs = [row.tobytes() for row in embeddings.astype("<f4", copy=False)]
        ids = [crop.crop_id for crop in crops]
        pictured = int(pictures is not None)
        with self._transaction() as writer:
            if pictures is None and self._pictures:
                writer.execute(_DELETE_PICTURES, [as_json(ids)])
            writer.executemany(_UPSERT_CROP, ((*_row_of(crop), pictured) for crop in crops))
            writer.executemany(
                _UPSERT_EMBEDDING,
                ((zlib.crc32(blob), blob, key) for key, blob in zip(ids, blobs, strict=True)),
            )
            if pictures is not None:
                writer.executemany(_UPSERT_PICTURE, zip(pictures, ids, strict=True))
            counted = self._count_pictures()
        self._pictures = counted

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> None:
        """Set identities, all or none, durable on return.

        Args:
            labels: the new identity of each crop id.
            origin: where they come from.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        with self._transaction() as writer:
            writer.executemany(
                "UPDATE crops SET identity = ?, origin = ? WHERE crop_id = ?",
                ((identity, origin, crop_id) for crop_id, identity in labels.items()),
            )

    def configure(self, options: GalleryOptions) -> None:
        """Change the options, durable on return; without ``store_crops`` pictures are erased."""
        with self._transaction() as writer:
            writer.execute(
                "UPDATE gallery SET store_crops = ?, keep_for = ?, joins = ?",
                (options.store_crops, options.keep_for, options.join),
            )
            if not options.store_crops:
                writer.execute("DELETE FROM pictures")
                writer.execute("UPDATE crops SET pictured = 0 WHERE pictured")
            header, pictures = self._read_header(), self._count_pictures()
        if pictures < self._pictures:
            self._erase_log()
        self.header, self._pictures = header, pictures

    def matching(self, where: Filter) -> Doomed:
        """What passes the filter, and what deleting it would take away.

        Raises:
            Unavailable: SQLite cannot read the file.
        """
        expression, values = condition(where)
        statement = f"SELECT crop_id, identity, camera, pictured FROM crops WHERE {expression}"  # noqa: S608 - fixed texts, values are bound
        with answering(self._path):
            rows = self._writer.execute(statement, values).fetchall()
        receipt = Receipt(
            crops=len(rows),
            pictures=sum(pictured for *_, pictured in rows),
            identities=len({identity for _, identity, *_ in rows if identity is not None}),
            cameras=dict(sorted(Counter(row[2] for row in rows if row[2] is not None).items())),
        )
        return Doomed([crop_id for crop_id, *_ in rows], receipt)

    def delete(self, crop_ids: Iterable[str]) -> None:
        """Delete crops, durable on return; ids that are gone are passed over.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        with self._transaction() as writer:
            writer.execute(_DELETE_CROPS, [as_json(crop_ids)])
            counted = self._count_pictures()
        self._pictures = counted
        self._erase_log()

    def page(self, where: Filter, after: str, limit: int, hidden: Sequence[str]) -> list[Crop]:
        """List crops in the order of their ids.

        Args:
            where: which crops to list.
            after: only ids greater than this one; empty for the first page.
            limit: at most this many.
            hidden: ids to leave out.

        Returns:
            The crops.

        Raises:
            Unavailable: SQLite cannot read the file.
        """
        expression, values = condition(where)
        statement = (
            f"SELECT {_FIELDS} FROM crops "  # noqa: S608 - fixed texts, values are bound
            f"WHERE {expression} AND crop_id > ? "
            "AND crop_id NOT IN (SELECT value FROM json_each(?)) ORDER BY crop_id LIMIT ?"
        )
        # A connection of its own: listing neither waits for a write nor for another listing.
        with answering(self._path), closing(connect(self._path, "ro")) as reader:
            rows = reader.execute(statement, (*values, after, as_json(hidden), limit))
            return [Crop(*row) for row in rows]

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop.

        Raises:
            NotFound: none is stored.
            Unavailable: SQLite cannot read the file.
        """
        with answering(self._path), closing(connect(self._path, "ro")) as reader:
            row = reader.execute(_PICTURE, [crop_id]).fetchone()
        if row is None:
            raise NotFound(f"no picture of crop {crop_id!r} is stored")
        return bytes(row[0])

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        with answering(self._path):
            self._writer.close()

    def _read_header(self) -> Header:
        row = self._writer.execute(
            "SELECT model_sha256, dimension, created, store_crops, keep_for, joins FROM gallery"
        ).fetchone()
        if row is None:
            raise Unavailable(f"{self._path}: the gallery's header is missing")
        model_sha256, dimension, created, store_crops, keep_for, joins = row
        options = GalleryOptions(bool(store_crops), keep_for, bool(joins))
        return Header(model_sha256, dimension, created, options)

    def _count_pictures(self) -> int:
        (count,) = self._writer.execute("SELECT count(*) FROM pictures").fetchone()
        return int(count)

    def _erase_log(self) -> None:
        """Empty the write-ahead log, which still holds what was deleted.

        The deletion is durable already: a failure here only puts the erasure off to the next
        checkpoint, and must not look like a failed deletion.
        """
        try:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            _log.warning("%s: the write-ahead log was not emptied: %s", self._path, error)

    def _verify(self, rows: Sequence[tuple[Any, ...]]) -> StoredBatch:
        crops: list[Crop] = []
        blobs: list[bytes] = []
        damaged: list[str] = []
        dimension = self.header.dimension
        for *fields, crc32, blob in rows:
            if blob is None or len(blob) != 4 * dimension or zlib.crc32(blob) != crc32:
                damaged.append(fields[0])
            else:
                crops.append(Crop(*fields))
                blobs.append(blob)
        vectors = np.frombuffer(b"".join(blobs), dtype="<f4").astype(np.float32, copy=False)
        return StoredBatch(crops, vectors.reshape(-1, dimension), damaged)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with answering(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk may have made SQLite roll back by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise


def _row_of(crop: Crop) -> tuple[str | float | None, ...]:
    return (
        *(crop.crop_id, crop.identity, crop.camera, crop.timestamp),
        *(crop.digest, crop.origin, crop.added),
    )
