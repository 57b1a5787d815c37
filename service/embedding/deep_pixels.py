"""Samples of more than eight bits: which of their bits say something, and what becomes of them.

Cameras of 10 or 12 bits write 16-bit files, and most tools store the samples as they are. The upper
byte of such a file is nearly black, so the samples are stretched by their significant bits:

- A file may state them (PNG: sBIT; TIFF: BitsPerSample of 12, or MaxSampleValue).
- Otherwise the brightest sample tells: up to 255 eight bits, up to 1023 ten, up to 4095 twelve, and
  all sixteen beyond.
- Eight bits that a tool widened to sixteen are all multiples of 257 and keep their scale.

So a picture of sixteen true bits that is darker than a sixteenth of white, and states nothing, is
brightened: all of its samples by one factor of 2, none of them cut.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

Samples = NDArray[np.uint16]

_GUESSES = (8, 10, 12)
_FULL = 16
# Pillow keeps the first byte of two. Asked for the other order it keeps the second one.
_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
_GREY_ALPHA = "LA;16B"
_COLOURS = frozenset({"RGB", "RGBA", "RGBX", "RGBa"})


def significant_bits(samples: Samples, stated: int | None) -> int:
    """How many bits of 16-bit samples say something.

    Args:
        samples: of all colours, any shape.
        stated: what the file says, None where it says nothing.

    Returns:
        1 to 16.
    """
    peak = int(samples.max(initial=0))
    guesses = _GUESSES if stated is None else (stated,)
    bits = next((bits for bits in guesses if peak < 1 << bits), _FULL)
    return _FULL if _is_widened(samples) else bits


def eight_bits(samples: Samples, bits: int) -> NDArray[np.uint8]:
    """Samples of so many significant bits as bytes."""
    stretched = samples.astype(np.uint32) << (_FULL - bits) >> 8
    pixels: NDArray[np.uint8] = np.minimum(stretched, 255).astype(np.uint8)
    return pixels


def grey(picture: Image.Image, stated: int | None) -> Image.Image:
    """A picture of one 16-bit channel, in eight bits."""
    samples = np.asarray(picture).astype(np.uint16)
    return Image.fromarray(eight_bits(samples, significant_bits(samples, stated)))


def depth_of(picture: ImageFile) -> str | None:
    """How Pillow would read a picture's several 16-bit channels.

    Args:
        picture: not yet loaded.

    Returns:
        Its raw mode, such as ``RGB;16B``; None where the channels have eight bits, or one is all.
    """
    mode = _raw_mode(picture)
    channels, _, depth = mode.partition(";")
    deep = f";{depth}" in _OTHER_ORDER and channels in _COLOURS
    return mode if deep or mode == _GREY_ALPHA else None


def colour(picture: ImageFile, again: ImageFile, data: bytes, stated: int | None) -> Image.Image:
    """Read a picture of several 16-bit channels, in eight bits.

    Args:
        picture: not yet loaded; :func:`depth_of` says that it is one.
        again: the same picture, opened once more.
        data: the file.
        stated: significant bits, where the file says.

    Returns:
        RGB or RGBA.
    """
    is_grey = depth_of(picture) == _GREY_ALPHA
    picture.load()
    samples = _grey_alpha(data) if is_grey else _whole(picture, again)
    colours = samples[..., :3]
    bits = significant_bits(colours, stated)
    pixels = eight_bits(samples, bits)
    if samples.shape[2] == 4 and int(samples[..., 3].max(initial=0)) >= 1 << bits:
        pixels[..., 3] = eight_bits(samples[..., 3], _FULL)
    return Image.fromarray(pixels)


def stated_by_png(data: bytes) -> int | None:
    """The significant bits that a PNG's chunk sBIT states; the most of its colours."""
    position = 8
    while (kind := data[position + 4 : position + 8]) not in {b"IDAT", b""}:
        size = int.from_bytes(data[position : position + 4], "big")
        if kind == b"sBIT":
            values = data[position + 8 : position + 8 + min(size, 4)]
            colours = values[:1] if size <= 2 else values[:3]
            return _sane(max(colours, default=0))
        position += 12 + size
    return None


def stated_by_tiff(picture: ImageFile) -> int | None:
    """The significant bits that a TIFF states."""
    tags = getattr(picture, "tag_v2", {})
    bits = max(tags.get(258, (1,)))
    brightest = tags.get(281)
    if brightest:
        bits = min(bits, int(max(brightest)).bit_length())
        return _sane(bits)
    return _sane(bits) if bits < _FULL else None


def _sane(bits: int) -> int | None:
    return bits if 1 <= bits <= _FULL else None


def _is_widened(samples: Samples) -> bool:
    return not (samples % np.uint16(257)).any()


def _raw_mode(picture: ImageFile) -> str:
    args = picture.tile[0].args if picture.tile else ""
    mode = args[0] if isinstance(args, tuple) and args else args
    return mode if isinstance(mode, str) else ""


def _whole(picture: ImageFile, again: ImageFile) -> Samples:
    """Both bytes of each sample: each of two readings keeps one."""
    again.tile = [
        tile._replace(args=_in_other_order(tile.args))  # type: ignore[arg-type]  # any decoder's
        for tile in again.tile
    ]
    again.load()
    high, low = (np.asarray(part).astype(np.uint16) for part in (picture, again))
    return cast("Samples", high << 8 | low)


def _in_other_order(args: object) -> object:
    if isinstance(args, tuple):
        return (_in_other_order(args[0]), *args[1:])
    mode, depth = str(args)[:-4], str(args)[-4:]
    return mode + _OTHER_ORDER[depth]


def _grey_alpha(data: bytes) -> Samples:
    """Grey and transparency, two bytes each, lie as four channels of one byte would."""
    header = data[12:24] + bytes([8, 6]) + data[26:29]
    checksum = zlib.crc32(header).to_bytes(4, "big")
    picture = PngImageFile(BytesIO(data[:12] + header + checksum + data[33:]))
    picture.load()
    pairs = np.asarray(picture).astype(np.uint16)
    samples = pairs[..., 0::2] << 8 | pairs[..., 1::2]
    return cast("Samples", samples[..., [0, 0, 0, 1]])
