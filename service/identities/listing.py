"""Lists the identities of a gallery with their counts."""

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
        example: id of the first crop.
        crops: number of crops.
        cameras: number of crops per camera.
        origins: number of crops per origin of the identity.
        first: earliest timestamp; None if none is known.
        last: latest timestamp; None if none is known.
    """

    identity: str
    example: str
    crops: int = 0
    cameras: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    last: float | None = None

    def add(self, crop: Crop) -> None:
        """Add one crop to the counts."""
        self.crops += 1
        self.origins[crop.origin] += 1
        if crop.camera is not None:
            self.cameras[crop.camera] += 1
        if (moment := crop.timestamp) is not None:
            self.first = moment if self.first is None else min(self.first, moment)
            self.last = moment if self.last is None else max(self.last, moment)


@dataclass(frozen=True, slots=True)
class IdentityListing:
    """One page of identities by name; ``cursor`` requests the next page, None ends it.

    ``total`` is the number of identities on all pages, ``unnamed`` the number of crops without one.
    """

    identities: tuple[Identity, ...]
    cursor: str | None
    total: int
    unnamed: int


def list_identities(
    gallery: Gallery, where: Filter, limit: int, cursor: str | None = None
) -> IdentityListing:
    """List the identities of a gallery by name; reads every crop that passes the filter.

    Args:
        gallery: the gallery.
        where: which crops to count.
        limit: most identities, >= 1.
        cursor: from the previous page; None for the first.

    Returns:
        The page.

    Raises:
        InvalidInput: the cursor is not valid.
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
