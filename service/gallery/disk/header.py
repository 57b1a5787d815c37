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
    """What a gallery is, apart from its crops."""

    model_sha256: str
    dimension: int
    created: float
    options: GalleryOptions


def require_format(
    path: Path, reader: sqlite3.Connection, accepted: Collection[int] = (FORMAT,)
) -> None:
    """Refuse a file of another version.

    Args:
        path: the file, for the message.
        reader: open on it.
        accepted: the versions that will do.

    Raises:
        Unavailable: it is of none of them; the message says what to do.
    """
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    if version not in accepted:
        raise Unavailable(
            f"{path}: written in format {version}, this release reads formats 1 to "
            f"{FORMAT}; run the release that wrote it, or a newer one"
        )


def read_header(path: Path, reader: sqlite3.Connection) -> Header:
    """What the gallery is.

    Raises:
        Unavailable: the file does not say.
    """
    row = reader.execute(
        "SELECT model_sha256, dimension, created, store_crops, keep_for, joins FROM gallery"
    ).fetchone()
    if row is None:
        raise Unavailable(f"{path}: the gallery's header is missing")
    model_sha256, dimension, created, store_crops, keep_for, joins = row
    options = GalleryOptions(bool(store_crops), keep_for, bool(joins))
    return Header(model_sha256, dimension, created, options)
