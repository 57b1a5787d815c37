"""What an import is made of, wherever it comes from."""

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
    """An image file and what is known of the crop on it."""

    name: str
    crop: Crop
    data: bytes


Item: TypeAlias = Picture | EmbeddedCrop | LeftOut
Items: TypeAlias = Iterator[Item]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one import may cost.

    Attributes:
        image_bytes: largest image file.
        unpacked_bytes: what an archive may unpack to.
        items: files, members or rows.
    """

    image_bytes: int
    unpacked_bytes: int
    items: int = 1_000_000

    def check_image(self, size: int) -> None:
        """Accept an image's size in bytes. Raises ImageTooLarge."""
        if size > self.image_bytes:
            raise ImageTooLarge(f"{size:,} bytes: an image may have {self.image_bytes:,}")

    def check_items(self, count: int) -> None:
        """Accept a number of items. Raises TooLarge."""
        if count > self.items:
            raise TooLarge(f"more than {self.items:,} items in one import")


def refused(name: str | Path, reason: str | Exception, *, is_error: bool = True) -> LeftOut:
    """An item that cannot be used, and why; ``is_error`` where it should have been."""
    return LeftOut(Path(name), str(reason), is_error)


def check_relative(name: str) -> None:
    """Accept a path that stays below the place it counts from.

    Args:
        name: with slashes; what an archive, a manifest or a request calls a file.

    Raises:
        InvalidInput: it is empty, absolute, or climbs with ``..``.
    """
    if len(name) > _LONGEST_PATH:
        raise InvalidInput(
            f"path {name[:80]!r}...: {len(name):,} characters: at most {_LONGEST_PATH:,}"
        )
    if not name or "\0" in name:
        raise InvalidInput(f"path {name[:80]!r}: empty, or holds a zero byte")
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ":" in parts[0]:
        raise InvalidInput(f"path {name[:80]!r}: absolute paths are refused")
    if ".." in parts:
        raise InvalidInput(f"path {name[:80]!r}: '..' is refused")
