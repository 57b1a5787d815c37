"""Read the lines of an untrusted file, with limits on rows and on blank lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from service.errors import InvalidInput

MAX_ROW = 4 << 20
"""Most bytes per row, which may span several lines."""

MAX_VALUES = 100_000
"""Most values per row, counted by commas before they are parsed."""

MAX_BLANK = 1_000_000
"""Most blank lines per file."""

_CHUNK = 1 << 16


class Lines:
    """The lines of a file as bytes, including their line ends.

    Args:
        file: read from its current position.
        returns: whether a carriage return alone ends a line, as in CSV.
    """

    def __init__(self, file: BinaryIO, *, returns: bool = False) -> None:
        self._lines = _by_any_end(file) if returns else _by_newline(file)
        self._blank = 0
        self._bytes = self._values = 0
        self.number = 0

    def begin_row(self) -> None:
        """Start a new row with the next line."""
        self._bytes = self._values = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        """The next line. Raises InvalidInput: its row, or the file, exceeds a limit."""
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
        if line.isspace():
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
        rest = found.pop()  # it may continue, and "\r" may be the first half of "\r\n"
        yield from found
        if len(rest) > MAX_ROW:
            yield rest  # longer than a row may be, so reading ends here
            return
    if rest:
        yield rest


def _too_long(number: int) -> str:
    return f"line {number} is part of a row of more than {MAX_ROW:,} bytes"
