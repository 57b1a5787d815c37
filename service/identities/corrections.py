"""Who is who, said by people: its origin is ``hand``, and no clustering changes it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from service.errors import InvalidInput, NotFound
from service.gallery.base import Crop, Filter, Gallery
from service.identities.clustering import is_free
from service.identities.names import fresh_names


@dataclass(frozen=True, slots=True)
class Correction:
    """What a correction did.

    Attributes:
        identity: what the named crops are called now.
        crops: how many crops it is about.
        changed: how many crops changed, in identity or origin; those a split keeps apart included.
    """

    identity: str | None
    crops: int
    changed: int


class Corrections:
    """Changes identities, one change at a time: no clustering overwrites a label made meanwhile."""

    def __init__(self) -> None:
        self._changing = threading.Lock()

    def label(
        self, gallery: Gallery, crop_ids: Collection[str], identity: str | None
    ) -> Correction:
        """Say who crops show.

        Args:
            gallery: whose crops.
            crop_ids: which.
            identity: who; None says that they show nobody who is known, for good.

        Returns:
            What changed.

        Raises:
            NotFound: a crop is not in the gallery; nothing changed.
        """
        with self._changing:
            crops = _find(gallery, crop_ids)
            changed = gallery.relabel(dict.fromkeys((c.crop_id for c in crops), identity), "hand")
        return Correction(identity, len(crops), changed)

    def merge(self, gallery: Gallery, identities: Collection[str], into: str) -> Correction:
        """Make one person of several; also of crops a clustering grouped, which then stay.

        Args:
            gallery: whose identities.
            identities: which; each must have a crop.
            into: the name they have from now on, a new one or an old one.

        Returns:
            What changed; the crops ``into`` had before count as well.

        Raises:
            NotFound: an identity has no crop; nothing changed.
        """
        with self._changing:
            where = Filter(identities=frozenset({*identities, into}))
            crops = gallery.crops(where)
            if missing := set(identities) - {crop.identity for crop in crops}:
                raise NotFound(f"gallery {gallery.name!r} has no identity {min(missing)!r}")
            changed = gallery.relabel(dict.fromkeys((c.crop_id for c in crops), into), "hand")
        return Correction(into, len(crops), changed)

    def split(self, gallery: Gallery, crop_ids: Collection[str], into: str | None) -> Correction:
        """Take crops out of their identities into one of their own.

        The crops that stay behind are held by hand as well: otherwise the next clustering would
        see a labelled crop among them and follow it.

        Args:
            gallery: whose crops.
            crop_ids: which; each must have an identity.
            into: the name they get; None makes one up.

        Returns:
            What changed.

        Raises:
            NotFound: a crop is not in the gallery; nothing changed.
            InvalidInput: a crop has no identity, or ``into`` is the one it has.
        """
        with self._changing:
            crops = _find(gallery, crop_ids)
            sources = _sources(crops, into)
            behind = gallery.crops(Filter(identities=sources))
            labels = {crop.crop_id: crop.identity for crop in behind}
            name = next(fresh_names(known_identities(gallery))) if into is None else into
            labels |= dict.fromkeys((crop.crop_id for crop in crops), name)
            changed = gallery.relabel(labels, "hand")
        return Correction(name, len(crops), changed)

    def regroup(self, gallery: Gallery, labels: Mapping[str, str | None]) -> int:
        """Store what a clustering says, but for crops that somebody named meanwhile.

        Args:
            gallery: whose crops.
            labels: the identity of each crop id, None for an outlier.

        Returns:
            How many crops changed.
        """
        with self._changing:
            free = {
                crop.crop_id: labels[crop.crop_id]
                for crop in gallery.crops(Filter())
                if crop.crop_id in labels
                and is_free(crop)
                and crop.identity != labels[crop.crop_id]
            }
            return gallery.relabel(free, "cluster") if free else 0


def known_identities(gallery: Gallery) -> set[str]:
    """Every identity of a gallery.

    Args:
        gallery: whose.

    Returns:
        Their names.
    """
    crops = gallery.crops(Filter(has_identity=True))
    return {crop.identity for crop in crops if crop.identity is not None}


def _find(gallery: Gallery, crop_ids: Collection[str]) -> list[Crop]:
    crops = gallery.crops(Filter(crop_ids=frozenset(crop_ids)))
    if missing := set(crop_ids) - {crop.crop_id for crop in crops}:
        raise NotFound(f"gallery {gallery.name!r} has no crop {min(missing)!r}")
    return crops


def _sources(crops: Sequence[Crop], into: str | None) -> frozenset[str]:
    for crop in crops:
        if crop.identity is None:
            raise InvalidInput(f"crop {crop.crop_id!r} has no identity to be split from: label it")
        if crop.identity == into:
            raise InvalidInput(f"crop {crop.crop_id!r} is {into!r} already")
    return frozenset(crop.identity for crop in crops if crop.identity is not None)
