"""Count the parts of a JPEG or PNG before it is decoded, and reject files with far too many.

A JPEG may refine its pixels in any number of scans. A scan takes as little as 14 bytes, but costs a
pass over the whole image. A JPEG or PNG may also consist of millions of empty parts. Ten megabytes
of either keep a decoder busy for many minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.errors import InvalidImage

MAX_SCANS = 100
"""Most scans per JPEG; encoders write about ten."""
MAX_PARTS = 10_000
"""Most segments per JPEG, or chunks per PNG."""

_EOI, _SOS, _TEM = 0xD9, 0xDA, 0x01
# Excluded after FF: 00 is a data byte of 255, D0 to D7 are restarts within a scan.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_PNG_HEAD = 8


def check_jpeg(data: bytes) -> None:
    """Reject a JPEG with too many scans or segments.

    Args:
        data: the file.

    Raises:
        InvalidImage: it has more than any encoder writes.
    """
    scans = 0
    for parts, kind in enumerate(_segments(data), start=1):
        scans += kind == _SOS
        if scans > MAX_SCANS:
            raise InvalidImage(f"the JPEG has more than {MAX_SCANS} scans")
        _check_count(parts, "segments")


def check_png(data: bytes) -> None:
    """Reject a PNG with too many chunks.

    Args:
        data: the file.

    Raises:
        InvalidImage: it has more than any encoder writes.
    """
    position, parts = _PNG_HEAD, 0
    while position < len(data):
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        parts += 1
        _check_count(parts, "chunks")


def _segments(data: bytes) -> Iterator[int]:
    """The marker of each segment up to the end of the image; decoders ignore what follows."""
    position = 2
    while found := _MARKER.search(data, position):
        position = found.end()
        kind = found[1][0]
        if kind == _EOI:
            return
        if kind != _TEM:  # TEM has no length
            position += int.from_bytes(data[position : position + 2], "big")
            yield kind


def _check_count(parts: int, what: str) -> None:
    if parts > MAX_PARTS:
        raise InvalidImage(f"the file has more than {MAX_PARTS:,} {what}")
