"""The identities of a gallery, counted."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.gallery.rules import decode_cursor, encode_cursor


@dataclass(slots=True)
class Identity:
    """One person of a gallery.

    Attributes:
        identity: the name.
        example: id of one of the crops, the first one.
        crops: how many.
        cameras: crops of each camera, where known.
        origins: crops by where the identity comes from.
        first: least timestamp, where known.
        last: greatest timestamp, where known.
    """

    identity: str
    example: str
    crops: int = 0
    cameras: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    last: float | None = None

    def add(self, crop: Crop) -> None:
        """Count one more crop."""
        self.crops += 1
        self.origins[crop.origin] += 1
        if crop.camera is not None:
            self.cameras[crop.camera] += 1
        if (moment := crop.timestamp) is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)


@dataclass(frozen=True, slots=True)
class IdentityListing:
    """Part of the identities, by name; ``cursor`` asks for the next part, None ends it.

    ``total`` counts the identities that pass, ``unnamed`` the crops without one.
    """

    identities: tuple[Identity, ...]
    cursor: str | None
    total: int
    unnamed: int


def list_identities(
    gallery: Gallery, where: Filter, limit: int, cursor: str | None = None
) -> IdentityListing:
    """The identities of a gallery in the order of their names; reads every crop that passes.

    Args:
        gallery: whose.
        where: which crops count.
        limit: at most this many, >= 1.
        cursor: of the part before; None for the first.

    Returns:
        The part.

    Raises:
        InvalidInput: a broken cursor.
    """
    after = "" if cursor is None else decode_cursor(cursor)
    crops = gallery.crops(where)
    named = [crop for crop in crops if crop.identity is not None]
    names = sorted({crop.identity for crop in named if crop.identity is not None})
    rest = names[bisect_right(names, after) :]
    found: dict[str, Identity] = {}
    shown = frozenset(rest[:limit])
    for crop in named:
        if crop.identity in shown:
            found.setdefault(crop.identity, Identity(crop.identity, crop.crop_id)).add(crop)
    return IdentityListing(
        identities=tuple(found[name] for name in rest[:limit]),
        cursor=encode_cursor(rest[limit - 1]) if len(rest) > limit else None,
        total=len(names),
        unnamed=len(crops) - len(named),
    )
