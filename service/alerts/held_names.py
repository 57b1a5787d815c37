"""The names that watches hold, and under which names a gallery knows these people now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from service.alerts.forgetting import phrase_of
from service.alerts.watch import WatchOrder
from service.gallery.base import TOLD, Crop, Filter
from service.gallery.protocol import Gallery

_MOST_SHOWN = 100  # crops per name
_AT_ONCE = 1000  # crops per question to a gallery

Shown = Mapping[str, Mapping[str, str | None]]
"""Of each name, some crops that had it when it was last seen: their digests by their ids."""


@dataclass(frozen=True, slots=True)
class Held:
    """What watches hold of the names of one gallery.

    Attributes:
        orders: the orders that compare with the gallery, by the ids of their watches.
        texts: the free texts of all watches of the gallery, as :func:`phrase_of` gives them.
        shown: what is stored of each name.
    """

    orders: Mapping[str, WatchOrder]
    texts: Sequence[str]
    shown: Shown

    @property
    def is_empty(self) -> bool:
        """Whether no watch holds a name of the gallery."""
        return not (self.orders or self.texts or self.shown)

    @property
    def wanted(self) -> frozenset[str]:
        """The identities that are looked for."""
        return frozenset(name for order in self.orders.values() for name in order.identities)

    def named(self, leaving: Collection[str]) -> frozenset[str]:
        """The identities that are looked for, and those of some others that a text holds."""
        phrases = {name: phrase_of(name) for name in {*self.shown, *leaving} if self.texts}
        return self.wanted | {
            name for name, phrase in phrases.items() if any(phrase in text for text in self.texts)
        }


def told_under(gallery: Gallery, names: Collection[str]) -> dict[str, dict[str, str | None]]:
    """Some crops of each person whom watches can find under a name: digests by ids."""
    told: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
    if names:
        for crop in gallery.crops(Filter(identities=frozenset(names), origins=TOLD)):
            if crop.identity is not None and len(told[crop.identity]) < _MOST_SHOWN:
                told[crop.identity][crop.crop_id] = crop.digest
    return dict(told)


def present_names(gallery: Gallery, held: Held, without: Collection[str]) -> dict[str, str]:
    """The present name of each person who is looked for under a name that no crop has."""
    lost = frozenset(without) & held.wanted & held.shown.keys()
    if not lost:
        return {}
    gone = gallery.absent(Filter(identities=lost)).identities
    crops = crops_of(gallery, {crop_id for name in gone for crop_id in held.shown[name]})
    renamed: dict[str, str] = {}
    for name in gone:
        shown = held.shown[name].items()
        now = [crops[crop_id] for crop_id, digest in shown if _is_still(crops, crop_id, digest)]
        match list({crop.identity for crop in now}):
            case [str(present)]:
                renamed[name] = present
            case _:  # erased, nobody, or several people
                continue
    return renamed


def crops_of(gallery: Gallery, crop_ids: Collection[str]) -> dict[str, Crop]:
    """The crops of a gallery that have these ids, by their ids."""
    wanted = sorted(crop_ids)
    parts = (wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE))
    found = (gallery.crops(Filter(crop_ids=frozenset(part))) for part in parts)
    return {crop.crop_id: crop for crops in found for crop in crops}


def _is_still(crops: Mapping[str, Crop], crop_id: str, digest: str | None) -> bool:
    return crop_id in crops and crops[crop_id].digest == digest
