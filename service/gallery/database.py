"""One gallery's SQLite file: the truth that everything else is rebuilt from."""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import StorageFull, Unavailable
from service.gallery.base import Crop, Filter

SCHEMA_VERSION = 1
_log = logging.getLogger(__name__)
_ROWS_A_BATCH = 4096

# Embeddings live apart from the metadata, so that listing and filtered deletion read a small table.
_SCHEMA = f"""
CREATE TABLE gallery (
    model_sha256 TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE TABLE crops (
    id INTEGER PRIMARY KEY,
    crop_id TEXT NOT NULL UNIQUE,
    identity TEXT,
    camera TEXT,
    timestamp REAL,
    digest TEXT
) STRICT;
CREATE TABLE embeddings (
    crop INTEGER PRIMARY KEY REFERENCES crops (id) ON DELETE CASCADE,
    crc32 INTEGER NOT NULL,
    vector BLOB NOT NULL
) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
"""

_UPSERT_CROP = """
INSERT INTO crops (crop_id, identity, camera, timestamp, digest) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (crop_id) DO UPDATE SET identity = excluded.identity, camera = excluded.camera,
    timestamp = excluded.timestamp, digest = excluded.digest
"""
_UPSERT_EMBEDDING = """
INSERT INTO embeddings (crop, crc32, vector) SELECT id, ?, ? FROM crops WHERE crop_id = ?
ON CONFLICT (crop) DO UPDATE SET crc32 = excluded.crc32, vector = excluded.vector
"""
_ALL_ROWS = """
SELECT crop_id, identity, camera, timestamp, digest, crc32, vector
FROM crops LEFT JOIN embeddings ON embeddings.crop = crops.id ORDER BY crops.id
"""


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


class GalleryDatabase:
    """An open SQLite file. One thread writes at a time (the caller sees to it), any may read.

    Args:
        path: an existing ``gallery.sqlite3``.

    Raises:
        Unavailable: the file is missing, damaged, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with answering(path):
            self._writer = _connect(path, "rw")
            try:
                self._require_known_version()
                header = self._writer.execute(
                    "SELECT model_sha256, dimension, created FROM gallery"
                ).fetchone()
            except BaseException:
                self._writer.close()
                raise
        if header is None:
            self._writer.close()
            raise Unavailable(f"{path}: the gallery's header is missing")
        self.model_sha256: str = header[0]
        self.dimension: int = header[1]
        self.created: float = header[2]

    @staticmethod
    def create(path: Path, model_sha256: str, dimension: int, created: float) -> None:
        """Write an empty gallery and close it again.

        Args:
            path: where; must not exist.
            model_sha256: the model whose embeddings the gallery will hold.
            dimension: their length.
            created: seconds since 1970-01-01 UTC.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        with answering(path), closing(_connect(path, "rwc")) as connection:
            connection.executescript(_SCHEMA)
            connection.execute(
                "INSERT INTO gallery VALUES (?, ?, ?)", (model_sha256, dimension, created)
            )

    def batches(self) -> Iterator[StoredBatch]:
        """Read everything back, verifying each embedding.

        Yields:
            Batches in the order of insertion.

        Raises:
            Unavailable: SQLite cannot read the file.
        """
        with answering(self._path), closing(_connect(self._path, "ro")) as reader:
            rows = reader.execute(_ALL_ROWS)
            while batch := rows.fetchmany(_ROWS_A_BATCH):
                yield self._verify(batch)

    def upsert(self, crops: Sequence[Crop], embeddings: NDArray[np.float32]) -> None:
        """Insert or replace crops, all or none, durable on return.

        Args:
            crops: N crops with distinct ids.
            embeddings: (N, D) float32.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        blobs = [row.tobytes() for row in embeddings.astype("<f4", copy=False)]
        with self._transaction() as writer:
            writer.executemany(_UPSERT_CROP, map(astuple, crops))
            writer.executemany(
                _UPSERT_EMBEDDING,
                (
                    (zlib.crc32(blob), blob, crop.crop_id)
                    for crop, blob in zip(crops, blobs, strict=True)
                ),
            )

    def delete(self, where: Filter) -> list[str]:
        """Delete what passes the filter, durable on return.

        Args:
            where: the filter.

        Returns:
            The ids deleted.

        Raises:
            StorageFull: the disk is full; nothing changed.
            Unavailable: the file cannot be written; nothing changed.
        """
        condition, values = _condition(where)
        statement = f"DELETE FROM crops WHERE {condition} RETURNING crop_id"  # noqa: S608 - fixed texts, values are bound
        with self._transaction() as writer:
            deleted = [crop_id for (crop_id,) in writer.execute(statement, values)]
        if deleted:
            self._erase_log()
        return deleted

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
        condition, values = _condition(where)
        statement = (
            "SELECT crop_id, identity, camera, timestamp, digest FROM crops "  # noqa: S608 - fixed texts, values are bound
            f"WHERE {condition} AND crop_id > ? "
            "AND crop_id NOT IN (SELECT value FROM json_each(?)) ORDER BY crop_id LIMIT ?"
        )
        # A connection of its own: listing neither waits for a write nor for another listing.
        with answering(self._path), closing(_connect(self._path, "ro")) as reader:
            rows = reader.execute(statement, (*values, after, json.dumps(list(hidden)), limit))
            return [Crop(*row) for row in rows]

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        with answering(self._path):
            self._writer.close()

    def _erase_log(self) -> None:
        """Empty the write-ahead log, which still holds what was deleted.

        The deletion is durable already: a failure here only puts the erasure off to the next
        checkpoint, and must not look like a failed deletion.
        """
        try:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            _log.warning("%s: the write-ahead log was not emptied: %s", self._path, error)

    def _require_known_version(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise Unavailable(
                f"{self._path}: written in format {version}, this release reads format "
                f"{SCHEMA_VERSION}; run the release that wrote it"
            )

    def _verify(self, rows: Sequence[tuple[Any, ...]]) -> StoredBatch:
        crops: list[Crop] = []
        blobs: list[bytes] = []
        damaged: list[str] = []
        for *fields, crc32, blob in rows:
            if blob is None or len(blob) != 4 * self.dimension or zlib.crc32(blob) != crc32:
                damaged.append(fields[0])
            else:
                crops.append(Crop(*fields))
                blobs.append(blob)
        vectors = np.frombuffer(b"".join(blobs), dtype="<f4").astype(np.float32, copy=False)
        return StoredBatch(crops, vectors.reshape(-1, self.dimension), damaged)

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


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Args:
        path: the file at work, for the message.

    Raises:
        StorageFull: the disk, or the file's limit, is full.
        Unavailable: any other failure of the file: read-only, I/O error, damage.
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(f"{path}: {error}") from error
        raise Unavailable(f"{path}: {error}") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=30.0,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if mode != "ro":
            _prepare_for_writing(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_for_writing(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit that returned survives a power cut, not only a crash of the program.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Embeddings describe people: what is deleted is overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete = ON")


def _condition(where: Filter) -> tuple[str, list[str | float]]:
    """Express the filter in SQL; sets travel as one JSON value, so their size has no limit."""
    parts: list[str] = ["TRUE"]
    values: list[str | float] = []
    for one_of, chosen in (
        ("camera IN (SELECT value FROM json_each(?))", where.cameras),
        ("identity IN (SELECT value FROM json_each(?))", where.identities),
        ("crop_id IN (SELECT value FROM json_each(?))", where.crop_ids),
    ):
        if chosen is not None:
            parts.append(one_of)
            values.append(json.dumps(sorted(chosen)))
    if where.not_camera is not None:
        parts.append("(camera IS NULL OR camera NOT IN (SELECT value FROM json_each(?)))")
        values.append(json.dumps([where.not_camera]))
    if where.since is not None:
        parts.append("timestamp >= ?")
        values.append(float(where.since))
    if where.until is not None:
        parts.append("timestamp < ?")
        values.append(float(where.until))
    return " AND ".join(parts), values
