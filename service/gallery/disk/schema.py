"""The tables of a gallery's SQLite file."""

from __future__ import annotations

FORMAT = 4
TRACKLESS_FORMAT = 3
"""The present tables, but crops have no tracks."""
UNMIGRATED_FORMAT = 2
"""The same, and names and times may still follow the rules of older releases."""
ROWS_A_SEGMENT = 64

# SQLite stores up to a page of a long value among other rows, where old copies may remain. Starting
# each value with this many zeros keeps embeddings out of that part.
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
    picture_key BLOB,              -- for its row in pictures, if it has one
    crc32 INTEGER NOT NULL,        -- of the embedding's bytes
    track TEXT                     -- last, where a migration can add it
) STRICT
"""
CREATE_INDEX = "CREATE UNIQUE INDEX crop_ids ON crops (crop_id)"
# Receipts list other galleries that hold the same pictures.
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
    unclean INTEGER NOT NULL       -- whether old copies of erased metadata may remain
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
"""Embeddings are stored in segments, apart from the metadata: a start reads them in a few large
pieces straight into memory, a listing or a filtered deletion reads a small table, and a single row
is written or zeroed in place."""
