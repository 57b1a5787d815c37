"""Decode image files to the input of a network; the service and training share this code."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.embedding import deep_pixels
from service.embedding.file_parts import check_jpeg, check_png
from service.embedding.plain_files import check_bmp, check_tiff
from service.errors import ImageTooLarge, InvalidImage, ReidError

Resize = Literal["bilinear", "bicubic"]

BACKGROUND = (124, 116, 104)
"""Colour behind transparent pixels: ImageNet's mean, which becomes zero after normalisation."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings changes state of the whole process, so only one thread may use it.
_silence_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of an image file, checked before any pixel is decoded.

    Attributes:
        max_bytes: largest file.
        max_pixels: largest width times height, as the header states them.
        min_side: smallest width or height in pixels; no person is visible below it.
    """

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 16_000_000
    min_side: int = 8


DEFAULT_LIMITS = ImageLimits()


def decode(
    data: bytes,
    height: int,
    width: int,
    *,
    resize: Resize = "bicubic",
    limits: ImageLimits = DEFAULT_LIMITS,
) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, WebP, BMP or TIFF file and resize it to the network's input.

    The format is detected from the content. The EXIF orientation is applied. The first of several
    frames is used; a TIFF with several is rejected. Grey, palette and CMYK images become RGB,
    samples with more than eight bits are scaled by their significant bits
    (:mod:`service.embedding.deep_pixels`), and transparent pixels are blended with ``BACKGROUND``.
    Colour profiles are ignored. The aspect ratio is not kept; shrinking is antialiased.

    Args:
        data: the file.
        height: rows of the result, >= 1.
        width: columns of the result, >= 1.
        resize: interpolation, the manifest's ``resize``.
        limits: largest and smallest file accepted.

    Returns:
        (height, width, 3) uint8 RGB, contiguous and writable.

    Raises:
        ImageTooLarge: the file has too many bytes or pixels.
        InvalidImage: the file is empty, damaged, too small, or in another format.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"data is {type(data).__name__}, not bytes")
    if height < 1 or width < 1:
        raise ValueError(f"cannot resize to {height}x{width}: both sides must be at least 1")
    upright = read_picture(data, limits)
    with _pillow_errors():
        return np.array(upright.resize((width, height), Image.Resampling[resize.upper()]))


def read_picture(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Decode an image file in its own size; the rules are those of :func:`decode`.

    Args:
        data: the file.
        limits: largest and smallest file accepted.

    Returns:
        An upright RGB image.

    Raises:
        ImageTooLarge: the file has too many bytes or pixels.
        InvalidImage: the file is empty, damaged, too small, or in another format.
    """
    picture = _open(data, limits)
    with _pillow_errors():
        pixels = _pixels(picture, data)
        return _upright(_to_rgb(pixels), _orientation(picture))


def _open(data: bytes, limits: ImageLimits) -> ImageFile:
    if not data:
        raise InvalidImage("0 bytes: the file is empty")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"{len(data):,} bytes: at most {limits.max_bytes:,} are allowed")
    with _pillow_errors(), _silence():
        picture = _read_header(data)
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"{width}x{height} pixels: at most {limits.max_pixels:,} in total are allowed"
        )
    if min(width, height) < limits.min_side:
        raise InvalidImage(f"{width}x{height} pixels: each side needs at least {limits.min_side}")
    return picture


def _read_header(data: bytes) -> ImageFile:
    # Not Image.open, which also accepts other registered formats and warns about large images
    # before this module can reject them.
    if data.startswith(b"\xff\xd8\xff"):
        check_jpeg(data)
        return JpegImageFile(BytesIO(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        check_png(data)
        return PngImageFile(BytesIO(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile(BytesIO(data))
    if data.startswith(b"BM"):
        check_bmp(data)
        return BmpImageFile(BytesIO(data))
    if data.startswith((b"II*\0", b"MM\0*")):
        check_tiff(data)
        return TiffImageFile(BytesIO(data))
    raise InvalidImage(f"the file ({len(data):,} bytes) is not a JPEG, PNG, WebP, BMP or TIFF")


def _pixels(picture: ImageFile, data: bytes) -> Image.Image:
    """The pixels of an image with eight bits per channel."""
    if deep_pixels.depth_of(picture) is not None:
        with _silence():
            again = _read_header(data)
        return deep_pixels.colour(picture, again, data, _stated_bits(picture, data))
    picture.load()
    if picture.mode.startswith("I"):  # Pillow would clip 16 bits to 255 instead of scaling them
        return deep_pixels.grey(picture, _stated_bits(picture, data))
    return picture


def _stated_bits(picture: ImageFile, data: bytes) -> int | None:
    match picture:
        case PngImageFile():
            return deep_pixels.stated_by_png(data)
        case TiffImageFile():
            return deep_pixels.stated_by_tiff(picture)
        case _:
            return None


def _orientation(picture: Image.Image) -> int:
    # Some cameras write damaged EXIF into valid images, which are then treated as upright.
    with suppress(Exception), _silence():
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        canvas = Image.new("RGBA", picture.size, BACKGROUND)
        canvas.alpha_composite(picture.convert("RGBA"))
        picture = canvas
    return picture.convert("RGB")


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


@contextmanager
def _silence() -> Iterator[None]:
    with _silence_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _pillow_errors() -> Iterator[None]:
    try:
        yield
    except ReidError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(str(error)) from error
    except Exception as error:  # Pillow raises a dozen exception types for damaged files
        raise InvalidImage(f"the file is damaged: {error}") from error
