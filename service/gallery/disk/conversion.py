"""Conversion of the first release's file format, into a new file beside the old one."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from service.gallery.base import GalleryOptions
from service.gallery.disk import segments
from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.header import Header
from service.gallery.disk.migration import format_of, migrate_within
from service.gallery.disk.schema import ROWS_A_SEGMENT
from service.machine.sqlite import answering, connect

_log = logging.getLogger(__name__)
_ROWS_A_BATCH = 64 * ROWS_A_SEGMENT
_BATCHES_A_LINE = 16

_OLD_ROWS = """
SELECT crop_id, identity, camera, timestamp, digest, crc32, vector
FROM crops LEFT JOIN embeddings ON embeddings.crop = crops.id ORDER BY crops.id
"""
_INSERT = """
INSERT INTO crops (id, crop_id, identity, camera, timestamp, digest, origin, added, crc32)
VALUES (?, ?, ?, ?, ?, ?, 'given', ?, ?)
"""


def is_of_format_1(path: Path) -> bool:
    """Whether the first release wrote a file.

    Raises:
        Unavailable: it cannot be read.
    """
    with answering(path), closing(connect(path, "ro")) as reader:
        return format_of(reader) == 1


def convert(old: Path, new: Path) -> str:
    """Copy the content of a format-1 file into a new file of the present format.

    Crops count as added now, since format 1 does not record when they were added. Checksums are
    copied too, so a damaged embedding stays damaged. Names and times are migrated to the present
    rules.

    Args:
        old: a file of format 1; it is only read.
        new: the new file; must not exist.

    Returns:
        The SHA-256 of the model whose embeddings it holds.

    Raises:
        StorageFull: there is no room for both files.
        Unavailable: the old file cannot be read.
    """
    # Write access is needed to read a log that a crash left behind.
    with answering(old), closing(connect(old, "rw")) as reader:
        model_sha256, dimension, created = reader.execute(
            "SELECT model_sha256, dimension, created FROM gallery"
        ).fetchone()
        (count,) = reader.execute("SELECT count(*) FROM crops").fetchone()
        _log.info("%s: converting %d crops of format 1", old, count)
        GalleryDatabase.create(new, Header(model_sha256, dimension, created, GalleryOptions()))
        with answering(new), closing(connect(new, "rw")) as writer:
            _copy(reader, writer, dimension)
            migrate_within(writer)
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return str(model_sha256)


def _copy(reader: sqlite3.Connection, writer: sqlite3.Connection, dimension: int) -> None:
    rows, now, start = reader.execute(_OLD_ROWS), time.time(), 0
    while batch := rows.fetchmany(_ROWS_A_BATCH):
        places = range(start, start + len(batch))
        vectors = np.zeros((len(batch), dimension), "<f4")
        for vector, (*_, blob) in zip(vectors, batch, strict=True):
            if blob is not None and len(blob) == 4 * dimension:
                vector[:] = np.frombuffer(blob, "<f4")
        writer.execute("BEGIN IMMEDIATE")
        writer.executemany(
            _INSERT,
            (
                (place, *fields, now, -1 if crc32 is None else crc32)
                for place, (*fields, crc32, _) in zip(places, batch, strict=True)
            ),
        )
        segments.write_rows(writer, places, vectors)
        writer.execute("COMMIT")
        start += len(batch)
        if start % (_BATCHES_A_LINE * _ROWS_A_BATCH) == 0:
            _log.info("%d crops converted", start)
