"""Decompress gzip piece by piece, with limits for headers and for empty members."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import Any, BinaryIO

RATIO = 200
"""A larger ratio means a decompression bomb, because images are compressed already."""

HARMLESS = 64 << 20
"""Bytes that any file may unpack to, whatever the ratio."""

_PIECE = 1 << 14
_BUFFER = 1 << 16
_SPARE_MEMBERS = 10_000
_BYTES_PER_MEMBER = 1000
_GZIP = 31  # zlib's code for a window of 32 KiB with gzip's header and checksum


@contextmanager
def gunzip(path: Path) -> Iterator[BinaryIO]:
    """Open the content of a gzip file, whose members follow each other.

    Args:
        path: the file.

    Yields:
        The content. Reading raises BadGzipFile if the file is damaged or has too many nearly empty
        members, and EOFError if it is truncated.
    """
    with path.open("rb") as packed, io.BufferedReader(_Gunzip(packed), _BUFFER) as content:
        yield content


class _Gunzip(io.RawIOBase):
    """Decompresses with zlib, which reads headers without a Python step per byte."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._member = zlib.decompressobj(_GZIP)
        self._input = b""
        self._inside = False
        self._members = 0
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        found = self._next(len(target))
        target[: len(found)] = found
        return len(found)

    def _next(self, wanted: int) -> bytes:
        while True:
            self._input = self._input or self._packed.read(_PIECE)
            if not self._input:
                if self._inside:
                    raise EOFError("the file is truncated")
                return b""
            if found := self._unpacked(wanted):
                return found

    def _unpacked(self, wanted: int) -> bytes:
        if not self._inside:
            self._input = self._input.lstrip(b"\0") if self._members else self._input
            if not self._input:  # zero padding after the last member, as tapes have it
                return b""
            self._begin()
        try:
            found = self._member.decompress(self._input, wanted)
        except zlib.error as error:
            raise BadGzipFile(str(error)) from error
        self._size += len(found)
        self._inside = not self._member.eof
        self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return found

    def _begin(self) -> None:
        self._members += 1
        if self._members > _SPARE_MEMBERS + self._size // _BYTES_PER_MEMBER:
            raise BadGzipFile(f"{self._members:,} members contain only {self._size:,} bytes")
        self._member = zlib.decompressobj(_GZIP)
        self._inside = True
