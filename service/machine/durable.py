"""What every writer to the data folder needs of the system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import disk_error


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_private() -> int:
    """Let the files that this process makes be read by its own user alone.

    Returns:
        The mask before, for :func:`os.umask`.
    """
    return os.umask(0o077)


def open_to_others(folder: Path) -> str | None:
    """How a folder lets other users of the machine in.

    Args:
        folder: existing or not.

    Returns:
        Its mode, such as ``0755``; None where it keeps them out, or is not there.
    """
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        return None
    return f"{mode:04o}" if mode & 0o077 else None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours.

    Args:
        path: what is worked at, for the message.

    Raises:
        StorageFull: the disk, or the share of it, is full.
        Unavailable: any other failure.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(str(path), error) from error
