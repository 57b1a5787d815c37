"""What every writer to the data folder needs of the system."""

from __future__ import annotations

import os
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
