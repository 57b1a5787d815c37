"""Accept only the plain BMP and TIFF files that cameras and converters write.

Both formats have many variants that no crop needs, and the code for each is open to attack by a
malicious file. Variants that are not listed here are rejected before decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NoReturn

from service.errors import InvalidImage

_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
_BMP_BITS = frozenset({1, 4, 8, 16, 24, 32})
_BMP_PLAIN = frozenset({0, 3})  # uncompressed, without and with bit masks for the colours

_MAX_TAGS = 200
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANES, _FORMAT = 273, 277, 278, 279, 284, 339
_TILES = frozenset({322, 323, 324, 325})
_TIFF_BITS = frozenset({1, 4, 8, 12, 16})
_TIFF_COMPRESSIONS = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits"}
_TIFF_COLOURS = frozenset({0, 1, 2, 3})  # WhiteIsZero, BlackIsZero, RGB, palette
_ALL_ROWS = 0xFFFFFFFF
_MOST_ROWS = 1 << 16


def check_bmp(data: bytes) -> None:
    """Accept a BMP that is not compressed.

    Args:
        data: the file.

    Raises:
        InvalidImage: it is another variant, or truncated.
    """
    size = _unsigned(data, 14, 4)
    if size not in _BMP_HEADERS:
        raise InvalidImage(f"unknown BMP variant: its header has {size} bytes")
    width, height, bits = _bmp_shape(data, size)
    compression = _unsigned(data, 30, 4) if size >= 40 else 0
    if compression not in _BMP_PLAIN:
        raise InvalidImage("compressed BMP: save it uncompressed, or as PNG")
    if bits not in _BMP_BITS:
        raise InvalidImage(f"BMP with {bits} bits per pixel: allowed are {sorted(_BMP_BITS)}")
    row = (width * bits + 31) // 32 * 4
    if _unsigned(data, 10, 4) + row * height > len(data):
        raise InvalidImage("the file is damaged: the BMP ends before its pixels do")


def check_tiff(data: bytes) -> None:
    """Accept a baseline TIFF with one image.

    Args:
        data: the file.

    Raises:
        InvalidImage: it is another variant, contains several images, or is damaged.
    """
    tags = _tiff_tags(data)
    if _TILES & set(tags):
        raise InvalidImage("tiled TIFF: save it in strips, or as PNG")
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _TIFF_COMPRESSIONS:
        kinds = ", ".join(sorted(set(_TIFF_COMPRESSIONS.values())))
        raise InvalidImage(f"TIFF compressed by method {compression}: allowed are {kinds}")
    _check_samples(tags)
    height = _one(tags, _HEIGHT, 0)
    rows = _one(tags, _ROWS, _ALL_ROWS)
    if rows == 0 or (rows != _ALL_ROWS and rows > max(height, _MOST_ROWS)):
        raise InvalidImage(f"the file is damaged: its TIFF strips have {rows:,} rows")
    strips = len(tags.get(_OFFSETS, ()))
    if not strips or strips != len(tags.get(_COUNTS, ())) or strips > max(height, 1):
        raise InvalidImage("the file is damaged: the TIFF strips do not match the image")
    for start, size in zip(tags[_OFFSETS], tags[_COUNTS], strict=True):
        if start + size > len(data):
            raise InvalidImage("the file is damaged: the TIFF ends before its pixels do")


def _check_samples(tags: Mapping[int, tuple[int, ...]]) -> None:
    colours, samples = _one(tags, _COLOURS, 1), _one(tags, _SAMPLES, 1)
    bits = set(tags.get(_BITS, (1,)))
    if colours not in _TIFF_COLOURS or samples > 4:
        raise InvalidImage(f"TIFF with {samples} samples per pixel and colour type {colours}")
    if len(bits) != 1 or not bits <= _TIFF_BITS:
        raise InvalidImage(
            f"TIFF with {sorted(bits)} bits per sample: allowed are {sorted(_TIFF_BITS)}"
        )
    if set(tags.get(_FORMAT, (1,))) - {1, 4}:
        raise InvalidImage("TIFF with signed or floating-point samples")
    if samples > 1 and _one(tags, _PLANES, 1) != 1:
        raise InvalidImage("planar TIFF (each colour separate): save it interleaved, or as PNG")
    if colours == 0 and bits & {12, 16}:
        raise InvalidImage("TIFF with more than 8 bits per sample in which white is zero")


def _tiff_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """The integer tags of the first image."""
    order = "<" if data[:2] == b"II" else ">"
    start = _unpack(f"{order}L", data, 4)[0]
    count = _unpack(f"{order}H", data, start)[0]
    if not 0 < count <= _MAX_TAGS:
        raise InvalidImage(f"TIFF with {count:,} tags: allowed are 1 to {_MAX_TAGS}")
    if _unpack(f"{order}L", data, start + 2 + 12 * count)[0]:
        raise InvalidImage("TIFF with several images: save each in its own file")
    found: dict[int, tuple[int, ...]] = {}
    for number in range(count):
        place = start + 2 + 12 * number
        tag, kind, values = _unpack(f"{order}HHL", data, place)
        size = _SIZES.get(kind, 0) * values
        at = place + 8 if size <= 4 else _unpack(f"{order}L", data, place + 8)[0]
        if at + size > len(data):
            raise InvalidImage(f"the file is damaged: TIFF tag {tag} points outside the file")
        if kind in {1, 3, 4} and values:
            letter = {1: "B", 3: "H", 4: "L"}[kind]
            found[tag] = _unpack(f"{order}{values}{letter}", data, at)
    return found


def _one(tags: Mapping[int, tuple[int, ...]], tag: int, otherwise: int) -> int:
    return tags.get(tag, (otherwise,))[0]


def _bmp_shape(data: bytes, size: int) -> tuple[int, int, int]:
    if size == 12:
        return _unsigned(data, 18, 2), _unsigned(data, 20, 2), _unsigned(data, 24, 2)
    width, height = _unpack("<ll", data, 18)
    return abs(width), abs(height), _unsigned(data, 28, 2)


def _unsigned(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        _cut()
    return int.from_bytes(data[at : at + size], "little")


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        _cut()


def _cut() -> NoReturn:
    raise InvalidImage("the file is damaged: it ends within its header")
