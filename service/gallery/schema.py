"""The tables of a gallery's SQLite file, and the way from older ones."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from service.errors import Unavailable

SCHEMA_VERSION = 2
_log = logging.getLogger(__name__)

# Embeddings live apart from the metadata, so that listing and filtered deletion read a small table.
SCHEMA = f"""
CREATE TABLE gallery (
    model_sha256 TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created REAL NOT NULL,
    store_crops INTEGER NOT NULL DEFAULT 0,
    keep_for REAL,
    joins INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE crops (
    id INTEGER PRIMARY KEY,
    crop_id TEXT NOT NULL UNIQUE,
    identity TEXT,
    camera TEXT,
    timestamp REAL,
    digest TEXT,
    origin TEXT NOT NULL DEFAULT 'given',
    added REAL,
    pictured INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE embeddings (
    crop INTEGER PRIMARY KEY REFERENCES crops (id) ON DELETE CASCADE,
    crc32 INTEGER NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE TABLE pictures (
    crop INTEGER PRIMARY KEY REFERENCES crops (id) ON DELETE CASCADE,
    data BLOB NOT NULL
) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
"""

_FROM_1 = f"""
BEGIN IMMEDIATE;
ALTER TABLE gallery ADD COLUMN store_crops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gallery ADD COLUMN keep_for REAL;
ALTER TABLE gallery ADD COLUMN joins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE crops ADD COLUMN origin TEXT NOT NULL DEFAULT 'given';
ALTER TABLE crops ADD COLUMN added REAL;
ALTER TABLE crops ADD COLUMN pictured INTEGER NOT NULL DEFAULT 0;
CREATE TABLE pictures (
    crop INTEGER PRIMARY KEY REFERENCES crops (id) ON DELETE CASCADE,
    data BLOB NOT NULL
) STRICT;
UPDATE crops SET added = {{now}};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - fixed texts


def bring_up_to_date(path: Path, writer: sqlite3.Connection) -> None:
    """Give an older file today's tables, all or none.

    Args:
        path: the file, for messages.
        writer: open on it.

    Raises:
        Unavailable: the file is of a newer version.
        sqlite3.Error: it cannot be changed.
    """
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    if version == 1:
        _log.info("%s: converting from format 1 to %d", path, SCHEMA_VERSION)
        try:
            writer.executescript(_FROM_1.format(now=repr(time.time())))
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise
    elif version != SCHEMA_VERSION:
        raise Unavailable(
            f"{path}: written in format {version}, this release reads formats 1 to "
            f"{SCHEMA_VERSION}; run the release that wrote it, or a newer one"
        )
