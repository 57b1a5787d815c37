"""The tables of a gallery's SQLite file."""

from __future__ import annotations

FORMAT = 3
UNMIGRATED_FORMAT = 2
"""The tables are those of today; names and times may still be as older releases took them."""
ROWS_A_SEGMENT = 64

# SQLite keeps up to a page of a long value among other rows, where old copies may stay behind. With
# so many zeros in front, that part holds no embedding.
SEGMENT_MARGIN = 16384

CREATE_CROPS = f"""
CREATE TABLE {{name}} (
    id INTEGER PRIMARY KEY,        -- row id % {ROWS_A_SEGMENT} of segment id / {ROWS_A_SEGMENT}
    crop_id TEXT NOT NULL,
    identity TEXT,
    camera TEXT,
    timestamp REAL,
    digest TEXT,
    origin TEXT NOT NULL,
    added REAL,
    picture_key BLOB,              -- of its row in pictures, where it has one
    crc32 INTEGER NOT NULL         -- of the embedding's bytes
) STRICT
"""
CREATE_INDEX = "CREATE UNIQUE INDEX crop_ids ON crops (crop_id)"
# Receipts name other galleries that hold the same pictures.
CREATE_DIGEST_INDEX = "CREATE INDEX IF NOT EXISTS crop_digests ON crops (digest)"

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE gallery (
    model_sha256 TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created REAL NOT NULL,
    store_crops INTEGER NOT NULL,
    keep_for REAL,
    joins INTEGER NOT NULL,
    unclean INTEGER NOT NULL       -- whether old copies of erased metadata may be left
) STRICT;
{CREATE_CROPS.format(name="crops")};
{CREATE_INDEX};
{CREATE_DIGEST_INDEX};
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    vectors BLOB NOT NULL          -- a margin of zeros, then {ROWS_A_SEGMENT} rows of little-endian
                                   -- float32, 0 where free
) STRICT;
CREATE TABLE pictures (
    crop INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
PRAGMA user_version = {FORMAT};
COMMIT;
"""
"""Embeddings lie in segments, apart from the metadata: a start reads them in a few large pieces
straight into place, a listing or a filtered deletion reads a small table, and one row is written,
or overwritten with zeros, where it lies."""
