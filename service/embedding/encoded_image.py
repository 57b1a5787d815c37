"""An image file on its way into the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image file, not decoded yet.

    Attributes:
        file: its name, used in messages only.
        data: its bytes: JPEG, PNG, WebP, BMP or TIFF.
        frame: number of the frame of the request that it was cut out of, if it was.
    """

    file: str
    data: bytes
    frame: int | None = None
