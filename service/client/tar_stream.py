"""Tar archives written while they are sent, so that no archive lies in memory or on disk."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 512
_CHUNK = 1 << 20
END = bytes(2 * _BLOCK)
"""What ends an archive."""


def member(name: str, data: bytes) -> Iterator[bytes]:
    """One member of an archive.

    Args:
        name: its path in the archive, with forward slashes.
        data: its content.

    Yields:
        Header, content and padding.
    """
    yield _header(name, len(data))
    yield data
    yield _padding(len(data))


def folder(path: Path) -> Iterator[bytes]:
    """A folder as an archive, with the files of its subfolders.

    Links are left out, and so are files that cannot be read.

    Args:
        path: the folder.

    Yields:
        The archive in pieces of at most 1 MiB; members are named relative to the folder.
    """
    for parent, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = Path(parent, name)
            if file.is_file() and not file.is_symlink():
                yield from _file(file.relative_to(path).as_posix(), file)
    yield END


def _file(name: str, path: Path) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        size = left = os.fstat(file.fileno()).st_size
        yield _header(name, size)
        while left and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk
    # A file that shrank meanwhile is filled up, because its header is sent already.
    while left:
        yield bytes(chunk_size := min(left, _CHUNK))
        left -= chunk_size
    yield _padding(size)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
