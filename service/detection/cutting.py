"""Cut persons out of a frame, as image files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from service.detection.quality import measure
from service.embedding.imaging import ImageLimits, read_picture
from service.errors import InvalidInput, TooLarge
from service.values.boxes import Box
from service.values.quality import Quality

EDGE = 1.0
"""Pixels that a box may reach beyond its frame, because trackers round; they are left out."""

_QUALITY = 95  # of JPEG; a crop is as good as one that `service detect --crops` writes
_LONGEST_SIDE = 65_500  # of a JPEG file that Pillow writes


@dataclass(frozen=True, slots=True)
class MarkedPerson:
    """A person that the detector or the caller marked on a frame.

    Attributes:
        box: where.
        score: how sure the detector was, 0..1; None if the caller does not say it.
        track: the camera's track that the person belongs to, if the caller says it.
    """

    box: Box
    score: float | None = None
    track: str | None = None


@dataclass(frozen=True, slots=True)
class CutFrame:
    """What was cut out of a frame.

    Attributes:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        pictures: an image file per person.
        qualities: how well the frame shows each.
    """

    width: int
    height: int
    pictures: list[bytes]
    qualities: list[Quality]


class Room:
    """How many bytes the pictures of one request may still take; several threads share it.

    Args:
        size: how many they may take together.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Take the bytes of a picture. Raises TooLarge: there is no room for it."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise TooLarge(
                    f"the crops of these frames have more than {self._size:,} bytes together: send "
                    "fewer frames per request"
                )


def cut(
    data: bytes, persons: Sequence[MarkedPerson], name: str, limits: ImageLimits, room: Room
) -> CutFrame:
    """Decode a frame and cut its persons out, without a margin.

    Args:
        data: JPEG, PNG, WebP, BMP or TIFF.
        persons: N persons on the upright frame.
        name: what messages call the list of their boxes.
        limits: largest and smallest file accepted.
        room: for the pictures.

    Returns:
        N pictures and their qualities.

    Raises:
        ImageTooLarge: the file has too many bytes or pixels.
        InvalidImage: the file is empty, damaged, too small, or in another format.
        InvalidInput: a box reaches beyond the frame.
        TooLarge: there is no room for the pictures.
    """
    frame = read_picture(data, limits)
    for number, person in enumerate(persons):
        _require_inside(person.box, frame, f"{name}[{number}]")
    pictures = []
    for person in persons:
        picture = _encoded(frame.crop(person.box.pixels(frame.width, frame.height)))
        room.take(len(picture))
        pictures.append(picture)
    return CutFrame(frame.width, frame.height, pictures, _qualities(frame, persons))


def judge(data: bytes, persons: Sequence[MarkedPerson], limits: ImageLimits) -> list[Quality]:
    """Decode a frame and measure how well it shows its persons.

    Args:
        data: JPEG, PNG, WebP, BMP or TIFF.
        persons: N persons on the upright frame.
        limits: largest and smallest file accepted.

    Returns:
        N qualities.

    Raises:
        ImageTooLarge: the file has too many bytes or pixels.
        InvalidImage: the file is empty, damaged, too small, or in another format.
    """
    return _qualities(read_picture(data, limits), persons)


def _qualities(frame: Image.Image, persons: Sequence[MarkedPerson]) -> list[Quality]:
    boxes = [person.box for person in persons]
    return measure(frame, boxes, [person.score for person in persons])


def _require_inside(box: Box, frame: Image.Image, name: str) -> None:
    inside = (
        -EDGE <= box.left < box.right <= frame.width + EDGE
        and -EDGE <= box.top < box.bottom <= frame.height + EDGE
    )
    if inside:
        left, top, right, bottom = box.pixels(frame.width, frame.height)
        inside = left < right and top < bottom
    if not inside:
        raise InvalidInput(
            f"{name}: x {box.left:g} to {box.right:g} and y {box.top:g} to {box.bottom:g} is not "
            f"on its frame, which has {frame.width}x{frame.height} pixels once it is upright"
        )


def _encoded(picture: Image.Image) -> bytes:
    file = BytesIO()
    if max(picture.size) > _LONGEST_SIDE:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
