"""Convert images with more than eight bits per sample to eight bits.

Cameras with 10 or 12 bits write 16-bit files, and most tools store the samples unchanged. The upper
byte of such a file is nearly black, so samples are scaled by their number of significant bits:

- The file may state it (PNG: sBIT; TIFF: BitsPerSample of 12, or MaxSampleValue).
- Otherwise the brightest sample decides: up to 255 means eight bits, up to 1023 ten, up to 4095
  twelve, and anything above sixteen.
- Eight bits that a tool widened to sixteen are all multiples of 257 and keep their scale.

A true 16-bit image that states nothing and is darker than a sixteenth of white is therefore
brightened: all samples by the same power of two, without clipping.
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
# Pillow keeps the first of two bytes. With the opposite byte order it keeps the second one.
_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
_GREY_ALPHA = "LA;16B"
_COLOURS = frozenset({"RGB", "RGBA", "RGBX", "RGBa"})


def significant_bits(samples: Samples, stated: int | None) -> int:
    """Find the number of significant bits of 16-bit samples.

    Args:
        samples: the samples of all colours, any shape.
        stated: the number that the file states, if any.

    Returns:
        1 to 16.
    """
    peak = int(samples.max(initial=0))
    guesses = _GUESSES if stated is None else (stated,)
    bits = next((bits for bits in guesses if peak < 1 << bits), _FULL)
    return _FULL if _is_widened(samples) else bits


def eight_bits(samples: Samples, bits: int) -> NDArray[np.uint8]:
    """Scale samples with this number of significant bits to eight bits."""
    stretched = samples.astype(np.uint32) << (_FULL - bits) >> 8
    pixels: NDArray[np.uint8] = np.minimum(stretched, 255).astype(np.uint8)
    return pixels


def grey(picture: Image.Image, stated: int | None) -> Image.Image:
    """Convert an image with one 16-bit channel to eight bits."""
    samples = np.asarray(picture).astype(np.uint16)
    return Image.fromarray(eight_bits(samples, significant_bits(samples, stated)))


def depth_of(picture: ImageFile) -> str | None:
    """How Pillow would read the 16-bit channels of an image with several channels.

    Args:
        picture: the image, not yet loaded.

    Returns:
        Its raw mode, such as ``RGB;16B``; None if it has eight bits per channel, or one channel.
    """
    mode = _raw_mode(picture)
    channels, _, depth = mode.partition(";")
    deep = f";{depth}" in _OTHER_ORDER and channels in _COLOURS
    return mode if deep or mode == _GREY_ALPHA else None


def colour(picture: ImageFile, again: ImageFile, data: bytes, stated: int | None) -> Image.Image:
    """Convert an image with several 16-bit channels to eight bits.

    Args:
        picture: an image for which :func:`depth_of` is not None, not yet loaded.
        again: the same image, opened a second time.
        data: the file.
        stated: the number of significant bits that the file states, if any.

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
    """The number of significant bits in a PNG's sBIT chunk: the largest of its colours."""
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
    """The number of significant bits that a TIFF states."""
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
    """Combine two readings, each of which keeps one of the two bytes of a sample."""
    again.tile = [
        tile._replace(args=_in_other_order(tile.args))  # type: ignore[arg-type]  # depends on the decoder
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
    """Read grey and alpha, two bytes each, as four channels of one byte."""
    header = data[12:24] + bytes([8, 6]) + data[26:29]
    checksum = zlib.crc32(header).to_bytes(4, "big")
    picture = PngImageFile(BytesIO(data[:12] + header + checksum + data[33:]))
    picture.load()
    pairs = np.asarray(picture).astype(np.uint16)
    samples = pairs[..., 0::2] << 8 | pairs[..., 1::2]
    return cast("Samples", samples[..., [0, 0, 0, 1]])
