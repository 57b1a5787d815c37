"""How this service opens SQLite files, and what it makes of their errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from service.errors import StorageFull, Unavailable

_NO_ROOM = 64 * 1024  # with fewer bytes free, an I/O error is most likely for want of room
_CACHE_KIB = 16 * 1024
_PAGE_BYTES = 16384


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
        if lacks_room(path, error):
            raise StorageFull(f"{path}: {error}") from error
        raise Unavailable(f"{path}: {error}") from error


def connect(
    path: Path, mode: Literal["ro", "rw", "rwc", "immutable"], *, wait: float = 30.0
) -> sqlite3.Connection:
    """Open a file.

    Args:
        path: the file.
        mode: read only, read and write, the latter and create it where it is missing, or a file
            nobody writes to.
        wait: seconds to wait for another connection's lock.

    Returns:
        A connection without implicit transactions, for use by several threads.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=wait,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Whatever SQLite sorts or copies on the way describes people: it stays out of /tmp.
        connection.execute("PRAGMA temp_store = MEMORY")
        if mode in {"rw", "rwc"}:
            _prepare_for_writing(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_for_writing(connection: sqlite3.Connection) -> None:
    # Of a new file only. Embeddings are read whole: a segment then is a chain of few pages.
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit that returned survives a power cut, not only a crash of the program.
    connection.execute("PRAGMA synchronous = FULL")
    # Embeddings describe people: what is deleted is overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def lacks_room(path: Path, error: sqlite3.Error) -> bool:
    """Whether SQLite failed because the disk, or the file's limit, is full.

    Args:
        path: the file.
        error: the failure.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return True
    # A journal that cannot be created for want of room is one that cannot be opened.
    if code is None or code & 0xFF not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return False
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _NO_ROOM
