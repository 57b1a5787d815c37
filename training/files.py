"""Replace a file or a folder in one step: a reader finds the old one or the new one, never half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"


@contextmanager
def replaced_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that takes the place of ``path`` when the block ends without an error.

    Until then, and if the process is killed, the old file stays as it is.

    Args:
        path: the file to replace or create; its folder must exist.
        durable: flush the new file to the disk before it replaces the old one.

    Yields:
        The new file, open for writing.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    with unfinished.open("wb") as file:
        yield file
        if durable:
            file.flush()
            os.fsync(file.fileno())
    unfinished.replace(path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that takes the place of ``path`` when the block ends without an error.

    If the block fails, ``path`` stays as it is and the new folder is removed.

    Args:
        path: the folder to replace or create; its parents are created.

    Yields:
        The new folder, empty.

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
