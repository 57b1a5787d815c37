"""Read images and manifests below the import roots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.errors import InvalidInput, TooLarge
from service.imports.items import ImportLimits
from service.imports.roots import ImportRoots
from service.machine.durable import disk_errors

_CHUNK = 1 << 20
_COPY = "manifest"


def read_image(path: Path, roots: ImportRoots, limits: ImportLimits) -> bytes:
    """Read an image file, up to the size limit.

    Args:
        path: a path below a root.
        roots: the import roots.
        limits: limits the size.

    Returns:
        Its bytes.

    Raises:
        ImageTooLarge: it is too large.
        InvalidInput: it leads out of the roots, is not a file, or cannot be read.
    """
    try:
        with roots.open(path) as file:
            limits.check_image(os.fstat(file.fileno()).st_size)
            data = file.read(limits.image_bytes + 1) or b""  # None if reading would block
    except OSError as error:
        raise InvalidInput(error.strerror or str(error)) from error
    limits.check_image(len(data))
    return data


@contextmanager
def private_copy(
    path: Path, roots: ImportRoots, limits: ImportLimits, scratch: Path
) -> Iterator[Path]:
    """Copy a manifest for the duration of a block, because it is read more than once.

    Args:
        path: a path below a root.
        roots: the import roots.
        limits: ``unpacked_bytes`` limits the copy.
        scratch: the folder for the copy; created if missing.

    Yields:
        The copy, with the same suffix.

    Raises:
        TooLarge: it is too large.
        InvalidInput: it leads out of the roots, is not a file, or cannot be read.
        StorageFull: the disk is full.
    """
    copy = scratch / f"{_COPY}{path.suffix}"
    try:
        try:
            file = roots.open(path)
        except OSError as error:
            raise InvalidInput(f"{path.name}: {error.strerror or error}") from error
        with file, disk_errors(copy):
            scratch.mkdir(parents=True, exist_ok=True)
            _copy(file, copy, limits.unpacked_bytes)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def discard_copies(scratch: Path) -> None:
    """Remove the copies of :func:`private_copy` that a killed process left."""
    for copy in scratch.glob(f"{_COPY}.*"):
        copy.unlink(missing_ok=True)


def _copy(file: BinaryIO, copy: Path, most: int) -> None:
    size = 0
    with copy.open("wb") as out:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise TooLarge(f"the manifest has more than {most:,} bytes")
            out.write(chunk)
