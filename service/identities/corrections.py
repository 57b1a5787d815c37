"""Who is who, said by people: its origin is ``hand``, and no clustering changes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.errors import InvalidInput, NotFound
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.identities.clustering import is_free
from service.identities.names import fresh_names

_GONE = ""  # no identity is called so


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


@dataclass(frozen=True, slots=True)
class Basis:
    """What a clustering saw of a gallery, which may have changed since.

    Attributes:
        known: every identity there was.
        digests: the digest of each crop it grouped.
        labelled: the crops of each identity that was given or set by hand.
    """

    known: frozenset[str]
    digests: Mapping[str, str | None]
    labelled: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, crops: Collection[Crop], known: Collection[str]) -> Basis:
        """What was read before these crops were grouped."""
        labelled: defaultdict[str, set[str]] = defaultdict(set)
        for crop in crops:
            if crop.identity is not None and not is_free(crop):
                labelled[crop.identity].add(crop.crop_id)
        return cls(
            known=frozenset(known),
            digests={crop.crop_id: crop.digest for crop in crops},
            labelled={name: frozenset(ids) for name, ids in labelled.items()},
        )


class Corrections:
    """Changes identities, with the gallery's lock held from reading to writing."""

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
        with gallery.changing():
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
        with gallery.changing():
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
        with gallery.changing():
            crops = _find(gallery, crop_ids)
            sources = _sources(crops, into)
            behind = gallery.crops(Filter(identities=sources))
            labels = {crop.crop_id: crop.identity for crop in behind}
            name = next(fresh_names(known_identities(gallery))) if into is None else into
            labels |= dict.fromkeys((crop.crop_id for crop in crops), name)
            changed = gallery.relabel(labels, "hand")
        return Correction(name, len(crops), changed)

    def regroup(
        self, gallery: Gallery, labels: Mapping[str, str | None], basis: Basis | None = None
    ) -> int:
        """Store what a clustering says, as far as it still holds.

        Crops that somebody named meanwhile, or whose picture was replaced, stay as they are. A
        person who was renamed or merged meanwhile is followed to the new name; a name that was
        erased does not come back. A new name that somebody else has taken meanwhile is replaced by
        another one.

        Args:
            gallery: whose crops.
            labels: the identity of each crop id, None for an outlier.
            basis: what the clustering saw; None where nothing can have changed since.

        Returns:
            How many crops changed.
        """
        with gallery.changing():
            crops = [crop for crop in gallery.crops(Filter()) if crop.crop_id in labels]
            names = _names_of_now(gallery, labels, basis)
            free = {
                crop.crop_id: identity
                for crop in crops
                if is_free(crop)
                and (basis is None or basis.digests.get(crop.crop_id) == crop.digest)
                and (identity := names[labels[crop.crop_id]]) != _GONE
                and crop.identity != identity
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


def _names_of_now(
    gallery: Gallery, labels: Mapping[str, str | None], basis: Basis | None
) -> dict[str | None, str | None]:
    """What each name of a clustering is called by now; ``_GONE`` where it must not come back."""
    wanted = set(labels.values())
    names: dict[str | None, str | None] = {name: name for name in wanted}
    if basis is None:
        return names
    known = known_identities(gallery)
    fresh: Iterator[str] = fresh_names(known | {name for name in wanted if name is not None})
    for name in sorted(name for name in wanted if name is not None):
        if name in basis.known and name not in known:
            names[name] = _name_of_now(gallery, basis.labelled.get(name, frozenset()))
        elif name not in basis.known and name in known:
            names[name] = next(fresh)
    return names


def _name_of_now(gallery: Gallery, crop_ids: frozenset[str]) -> str:
    """What a person whose name has gone is called now, going by the labelled crops."""
    crops = gallery.crops(Filter(crop_ids=crop_ids))
    names = {crop.identity for crop in crops}
    (name,) = names if len(names) == 1 else (_GONE,)
    return name or _GONE


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
