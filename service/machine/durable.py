"""Write files and folders so that a crash leaves the old state or the new one, never half of it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from service.errors import disk_error

UNFINISHED = ".new"
"""Suffix of a file that is being written and has not taken its place yet."""


@contextmanager
def replaced_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that takes the place of ``path`` when the block ends without an error.

    Until then the old file stays as it is, also if the process is killed.

    Args:
        path: the file to replace or create; its folder must exist.
        durable: sync the new file before it replaces the old one, and the folder afterwards.

    Yields:
        The new file, open for writing. It is removed if the block fails.

    Raises:
        OSError: the file cannot be written; or it took its place, but the disk did not confirm it.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            yield file
        if durable:
            move_durably(unfinished, path)
        else:
            unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that takes the place of ``path`` when the block ends without an error.

    Args:
        path: the folder to replace or create; its parents are created.

    Yields:
        The new folder, empty. If the block fails, it is removed and ``path`` stays as it is.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        fresh = Path(temporary, "fresh")
        fresh.mkdir()
        yield fresh
        if path.exists():
            path.rename(Path(temporary, "old"))
        fresh.rename(path)


def move_durably(source: Path, target: Path) -> None:
    """Move a file or a folder within a file system, durable on return.

    Args:
        source: a closed file, or a folder. A folder's entries are synced, their content is not.
        target: the new path. A file there is replaced.

    Raises:
        OSError: it cannot be moved; or it was moved, but the disk did not confirm it.
    """
    _sync(source, os.O_RDONLY)
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_private() -> int:
    """Make new files of this process readable by its own user only.

    Returns:
        The previous mask, for :func:`os.umask`.
    """
    return os.umask(0o077)


def open_to_others(folder: Path) -> str | None:
    """Whether other users of the machine can enter a folder.

    Args:
        folder: may be missing.

    Returns:
        Its mode, such as ``0755``, if they can; None if they cannot, or if it does not exist.
    """
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        return None
    return f"{mode:04o}" if mode & 0o077 else None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into the service's.

    Args:
        path: the file or folder in use, for the message.

    Raises:
        StorageFull: the disk or its quota is full.
        Unavailable: any other failure.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(str(path), error) from error
