"""Counts the parts of a picture file before anything reads them.

A JPEG may refine its pixels in any number of scans, each of which costs a pass over the whole
picture and no more than 14 bytes; a JPEG or PNG may consist of millions of empty parts. Ten
megabytes of either keep a reader busy for many minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.errors import InvalidImage

MAX_SCANS = 100
"""Scans of one JPEG; encoders make about ten."""
MAX_PARTS = 10_000
"""Segments of one JPEG, chunks of one PNG."""

_EOI, _SOS, _TEM = 0xD9, 0xDA, 0x01
# A marker's last two bytes: 0 means a data byte of 255, D0 to D7 are restarts within a scan.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_PNG_HEAD = 8


def check_jpeg(data: bytes) -> None:
    """Refuse a JPEG of too many scans or segments.

    Args:
        data: the file.

    Raises:
        InvalidImage: it has more than any encoder makes.
    """
    scans = 0
    for parts, kind in enumerate(_segments(data), start=1):
        scans += kind == _SOS
        if scans > MAX_SCANS:
            raise InvalidImage(f"the JPEG has more than {MAX_SCANS} scans")
        _check_count(parts, "segments")


def check_png(data: bytes) -> None:
    """Refuse a PNG of too many chunks.

    Args:
        data: the file.

    Raises:
        InvalidImage: it has more than any encoder makes.
    """
    position, parts = _PNG_HEAD, 0
    while position < len(data):
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        parts += 1
        _check_count(parts, "chunks")


def _segments(data: bytes) -> Iterator[int]:
    """The marker of each segment up to the end of the picture; what follows it nobody reads."""
    position = 2
    while found := _MARKER.search(data, position):
        position = found.end()
        kind = found[1][0]
        if kind == _EOI:
            return
        if kind != _TEM:  # which has no length
            position += int.from_bytes(data[position : position + 2], "big")
            yield kind


def _check_count(parts: int, what: str) -> None:
    if parts > MAX_PARTS:
        raise InvalidImage(f"the file has more than {MAX_PARTS:,} {what}")
