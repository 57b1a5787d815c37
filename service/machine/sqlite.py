"""Open SQLite files, and translate their errors."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from service.errors import StorageFull, Unavailable

_NO_ROOM = 64 * 1024  # with fewer bytes free, an I/O error most likely means a full disk
_CACHE_KIB = 16 * 1024
_PAGE_BYTES = 16384


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the service's.

    Args:
        path: the file in use, for the message.

    Raises:
        StorageFull: the disk is full, or the file has reached its size limit.
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
        mode: ``ro`` reads, ``rw`` reads and writes, ``rwc`` also creates a missing file,
            ``immutable`` reads a file that no process writes to.
        wait: seconds to wait for another connection's lock.

    Returns:
        A connection without implicit transactions, usable from several threads.

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
        # Temporary tables hold personal data too, so they must not go to /tmp.
        connection.execute("PRAGMA temp_store = MEMORY")
        if mode in {"rw", "rwc"}:
            _prepare_for_writing(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_for_writing(connection: sqlite3.Connection) -> None:
    # Takes effect in a new file only. Large pages, because embeddings are read in whole segments.
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL, so that a commit survives a power failure, not just a crash of the program.
    connection.execute("PRAGMA synchronous = FULL")
    # Embeddings are personal data, so deleted ones are overwritten, not just unlinked.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def lacks_room(path: Path, error: sqlite3.Error) -> bool:
    """Whether SQLite failed because the disk is full or the file has reached its size limit.

    Args:
        path: the file.
        error: the failure.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return True
    # On a full disk SQLite cannot create its journal, and reports that it cannot open it.
    if code is None or code & 0xFF not in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}:
        return False
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _NO_ROOM
