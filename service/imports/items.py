"""The items of an import, and its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from service.errors import ImageTooLarge, InvalidInput, TooLarge
from service.gallery.base import Crop
from service.ingest.crop_names import LeftOut
from service.ingest.sent_embeddings import EmbeddedCrop

_LONGEST_PATH = 32 << 10


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file and the metadata of its crop.

    Attributes:
        name: its path, for messages.
        crop: the metadata.
        data: the file's bytes.
    """

    name: str
    crop: Crop
    data: bytes


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """A frame of a video, whose persons become crops.

    Attributes:
        name: its video and its time, for messages.
        video_id: of the video; begins the ids of its frames.
        frame_id: begins the ids of its crops.
        seconds: its time since the first frame of the video.
        camera: that took it, if known.
        timestamp: when it was taken, in seconds since 1970-01-01 UTC, if known.
        data: the bytes of an image file.
    """

    name: str
    video_id: str
    frame_id: str
    seconds: float
    camera: str | None
    timestamp: float | None
    data: bytes


Storable: TypeAlias = Picture | EmbeddedCrop | LeftOut
Item: TypeAlias = Storable | WholeFrame
Items: TypeAlias = Iterator[Item]


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """The limits of one import.

    Attributes:
        image_bytes: largest image file.
        unpacked_bytes: most bytes that an archive may unpack to.
        items: most files, members, rows, or frames of videos.
        image_pixels: most pixels of a frame of a video.
    """

    image_bytes: int
    unpacked_bytes: int
    items: int = 1_000_000
    image_pixels: int = 16_000_000

    def check_image(self, size: int) -> None:
        """Check an image's size in bytes. Raises ImageTooLarge."""
        if size > self.image_bytes:
            raise ImageTooLarge(f"{size:,} bytes: an image may have at most {self.image_bytes:,}")

    def check_items(self, count: int) -> None:
        """Check the number of items. Raises TooLarge."""
        if count > self.items:
            raise TooLarge(f"more than {self.items:,} items in one import")


def refused(name: str | Path, reason: str | Exception, *, is_error: bool = True) -> LeftOut:
    """An item that cannot be used, and why; ``is_error`` if it should have been usable."""
    return LeftOut(Path(name), str(reason), is_error)


def check_relative(name: str) -> None:
    """Check that a path stays beneath the folder it is relative to.

    Args:
        name: path with slashes, from an archive, a manifest or a request.

    Raises:
        InvalidInput: it is empty, absolute, or contains ``..``.
    """
    if len(name) > _LONGEST_PATH:
        raise InvalidInput(
            f"path {name[:80]!r}...: {len(name):,} characters: at most {_LONGEST_PATH:,}"
        )
    if not name or "\0" in name:
        raise InvalidInput(f"path {name[:80]!r}: empty, or contains a zero byte")
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ":" in parts[0]:
        raise InvalidInput(f"path {name[:80]!r}: absolute paths are not allowed")
    if ".." in parts:
        raise InvalidInput(f"path {name[:80]!r}: '..' is not allowed")
