"""Lines of a file whose sender chose how long they are: every row is bounded, and every gap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from service.errors import InvalidInput

MAX_ROW = 4 << 20
"""Bytes of one row, over however many lines it goes."""

MAX_VALUES = 100_000
"""Values of one row, counted by their commas before anything is made of them."""

MAX_BLANK = 1_000_000
"""Blank lines of one file."""

_CHUNK = 1 << 16


class Lines:
    """The lines of a file as bytes, with their ends.

    Args:
        file: read from where it stands.
        returns: whether a carriage return alone ends a line too, as it does in CSV.
    """

    def __init__(self, file: BinaryIO, *, returns: bool = False) -> None:
        self._lines = _by_any_end(file) if returns else _by_newline(file)
        self._blank = 0
        self._bytes = self._values = 0
        self.number = 0

    def begin_row(self) -> None:
        """Say that the lines from here on belong to another row."""
        self._bytes = self._values = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        """The next line. Raises InvalidInput: its row, or the file, goes beyond a bound."""
        line = next(self._lines)
        self.number += 1
        self._bytes += len(line)
        self._values += line.count(b",")
        if self._bytes > MAX_ROW:
            raise InvalidInput(_too_long(self.number))
        if self._values >= MAX_VALUES:
            raise InvalidInput(
                f"line {self.number} is part of a row of more than {MAX_VALUES:,} values"
            )
        if not line.strip():
            self._count_blank()
        return line

    def _count_blank(self) -> None:
        self._blank += 1
        if self._blank > MAX_BLANK:
            raise InvalidInput(f"line {self.number}: more than {MAX_BLANK:,} lines are blank")


def _by_newline(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_ROW + 1):
        yield line


def _by_any_end(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while chunk := file.read(_CHUNK):
        found = (rest + chunk).splitlines(keepends=True)
        rest = found.pop()  # it may go on, and "\r" may be one half of "\r\n"
        yield from found
        if len(rest) > MAX_ROW:
            yield rest  # more than a row may have, so this is the end
            return
    if rest:
        yield rest


def _too_long(number: int) -> str:
    return f"line {number} is part of a row of more than {MAX_ROW:,} bytes"
