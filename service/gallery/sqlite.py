"""How this service opens SQLite files, and what it makes of their errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from service.errors import StorageFull, Unavailable


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


def connect(path: Path, mode: Literal["ro", "rw", "rwc"]) -> sqlite3.Connection:
    """Open a file.

    Args:
        path: the file.
        mode: read only, read and write, or the latter and create it where it is missing.

    Returns:
        A connection without implicit transactions, for use by several threads.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
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
