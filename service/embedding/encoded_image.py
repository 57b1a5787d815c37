"""A file on its way into the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image file.

    Attributes:
        file: the name the caller gave it; for messages only.
        data: its bytes.
    """

    file: str
    data: bytes
