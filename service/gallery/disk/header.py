"""The header of a gallery's SQLite file: its format, its model and its options."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from service.errors import Unavailable
from service.gallery.base import GalleryOptions
from service.gallery.disk.schema import FORMAT


@dataclass(frozen=True, slots=True)
class Header:
    """A gallery's properties, apart from its crops."""

    model_sha256: str
    dimension: int
    created: float
    options: GalleryOptions


def require_format(
    path: Path, reader: sqlite3.Connection, accepted: Collection[int] = (FORMAT,)
) -> None:
    """Reject a file of another format.

    Args:
        path: the file, for the message.
        reader: a connection to it.
        accepted: the formats that can be read.

    Raises:
        Unavailable: the file has another format; the message says what to do.
    """
    (found,) = reader.execute("PRAGMA user_version").fetchone()
    if found not in accepted:
        raise Unavailable(
            f"{path}: the file has format {found}, but this release reads formats 1 to {FORMAT}; "
            "run the release that wrote it, or a newer one"
        )


def read_header(path: Path, reader: sqlite3.Connection) -> Header:
    """Read a gallery's header.

    Raises:
        Unavailable: the file has none.
    """
    row = reader.execute(
        "SELECT model_sha256, dimension, created, store_crops, keep_for, joins FROM gallery"
    ).fetchone()
    if row is None:
        raise Unavailable(f"{path}: the gallery's header is missing")
    model_sha256, dimension, created, store_crops, keep_for, joins = row
    options = GalleryOptions(bool(store_crops), keep_for, bool(joins))
    return Header(model_sha256, dimension, created, options)
