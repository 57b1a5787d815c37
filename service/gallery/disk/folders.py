"""The folder of one gallery: a database per model, one of which is served.

::

    <gallery>/gallery-<sha256[:12]>.sqlite3   crops and embeddings of one model
    <gallery>/current                         the name of the file that is served
    <gallery>/gallery.sqlite3                 written by the first release, without ``current``

``current`` is replaced atomically, which switches from one database to another. A file that ends in
``.new`` is unfinished and is removed at the next start.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.errors import ReidError, Unavailable
from service.gallery.disk.conversion import convert, is_of_format_1
from service.gallery.disk.migration import migrate
from service.machine.durable import UNFINISHED, move_durably, replaced_file

_log = logging.getLogger(__name__)

CURRENT = "current"
_FIRST_NAME = "gallery.sqlite3"
_NAME = re.compile(r"gallery(-[0-9a-f]{1,12}(-\d+)?)?\.sqlite3")
_BESIDE = ("-wal", "-shm", "-journal")


def served_file(folder: Path) -> Path:
    """The database that a gallery is served from.

    Raises:
        Unavailable: the file ``current`` cannot be read or is not valid.
    """
    try:
        name = (folder / CURRENT).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        name = _FIRST_NAME
    except (OSError, ValueError) as error:
        raise Unavailable(f"{folder / CURRENT}: {error}") from error
    if not _NAME.fullmatch(name):
        raise Unavailable(f"{folder / CURRENT}: {name[:80]!r} is not the name of a database")
    return folder / name


def serve_from(database: Path) -> None:
    """Serve a gallery from this database from now on, durable on return.

    Raises:
        OSError: the folder cannot be written; the previous database is still served.
    """
    current = database.with_name(CURRENT)
    before = current.read_bytes() if current.exists() else None
    try:
        with replaced_file(current) as file:
            file.write(f"{database.name}\n".encode())
    except OSError:
        # If the disk did not confirm the new name, a rejected change must not be served later.
        if before is not None and current.read_bytes() != before:
            with suppress(OSError), replaced_file(current) as file:
                file.write(before)
        raise


def new_file(folder: Path, model_sha256: str) -> Path:
    """An unused path for another database of a model."""
    stem, number = f"gallery-{model_sha256[:12]}", 1
    path = folder / f"{stem}.sqlite3"
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.sqlite3"
    return path


def other_files(folder: Path) -> list[Path]:
    """Databases other than the one that is served."""
    served = served_file(folder)
    return sorted(
        path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path != served
    )


def bring_up_to_date(folder: Path) -> None:
    """Remove what an interrupted change left behind, and upgrade files of older releases.

    Raises:
        StorageFull: there is no room for the converted file.
        Unavailable: the file that is served cannot be read.
    """
    for entry in sorted(folder.iterdir()):
        if UNFINISHED in entry.name:
            _log.info("%s: removing what an interrupted change left behind", entry)
            remove(entry)
    served = served_file(folder)
    _remove_converted(folder / _FIRST_NAME, served)
    if served.name == _FIRST_NAME and is_of_format_1(served):
        _convert(served)
    _migrate_all(folder)


def _convert(served: Path) -> None:
    folder = served.parent
    for stale in other_files(folder):  # complete, but never served
        remove_database(stale)
    unfinished = folder / (_FIRST_NAME + UNFINISHED)
    try:
        finished = new_file(folder, convert(served, unfinished))
        finish(unfinished, finished)
        serve_from(finished)
    except BaseException:
        remove_database(unfinished)
        raise
    remove_database(served)
    _log.info("%s: converted", finished)


def _migrate_all(folder: Path) -> None:
    """Migrate every database of a gallery to the present rules and tables."""
    migrate(served_file(folder))
    for kept in other_files(folder):
        try:
            migrate(kept)
        except ReidError as error:  # opening it will fail too and is logged then
            _log.warning("%s: names and times were not migrated: %s", kept, error)


def _remove_converted(first: Path, served: Path) -> None:
    """Remove a file that was converted before a crash, so that it keeps nothing erased later."""
    if first != served and first.exists():
        with suppress(Unavailable):  # it is damaged; an operator has to decide about it
            if is_of_format_1(first):
                remove_database(first)


def write_database(path: Path, write: Callable[[Path], None]) -> None:
    """Write a complete database or nothing, durable on return."""
    unfinished = path.with_name(path.name + UNFINISHED)
    remove_database(unfinished)  # from an earlier attempt that could not even clean up
    try:
        write(unfinished)
        finish(unfinished, path)
    except BaseException:
        remove_database(unfinished)
        raise


def finish(unfinished: Path, finished: Path) -> None:
    """Give a complete, closed database its final name, durable on return.

    Raises:
        OSError: the folder cannot be written.
    """
    log = unfinished.with_name(unfinished.name + "-wal")
    if log.exists():  # closing does not report that SQLite failed to fold it in
        raise OSError(errno.EIO, "its write-ahead log could not be folded in", str(unfinished))
    move_durably(unfinished, finished)


def remove_database(path: Path) -> None:
    """Remove a database and its write-ahead log, as :func:`remove` does."""
    for suffix in ("", *_BESIDE):
        remove(path.with_name(path.name + suffix))


def remove(entry: Path) -> None:
    """Remove a file or a folder; a failure is logged and left for the next start."""
    try:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: could not be removed; left for the next start: %s", entry, error)


def size_of(folder: Path) -> int:
    """Bytes of a folder's files; those that are removed meanwhile count as nothing."""
    size = 0
    with suppress(FileNotFoundError):  # the gallery was deleted meanwhile
        for entry in folder.iterdir():
            with suppress(FileNotFoundError):  # SQLite removes its log when it is empty
                size += entry.stat().st_size
    return size
