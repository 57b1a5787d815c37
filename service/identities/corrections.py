"""Corrections of identities by people: their origin is ``hand``, and no clustering changes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from service.errors import InvalidInput, NotFound
from service.gallery.base import Crop, Filter, Origin
from service.gallery.protocol import Gallery
from service.identities.clustering import is_free
from service.identities.names import fresh_names

_GONE = ""  # never a valid identity

Following: TypeAlias = Callable[[Gallery, Collection[str]], AbstractContextManager[object]]
"""Makes a context in which identities of a gallery, some of which may lose their last crop, change;
its lock is held."""


def _followed_by_nobody(
    _gallery: Gallery, _leaving: Collection[str]
) -> AbstractContextManager[object]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Correction:
    """The result of a correction.

    Attributes:
        identity: the new identity of the named crops.
        crops: number of named crops.
        changed: number of crops whose identity or origin changed; after a split, this includes the
            crops left behind.
    """

    identity: str | None
    crops: int
    changed: int


@dataclass(frozen=True, slots=True)
class Basis:
    """The gallery as a clustering saw it; it may have changed since.

    Attributes:
        known: all identities at that time.
        digests: the digest of each crop that was grouped.
        labelled: the crops of each identity that was given or set by hand.
    """

    known: frozenset[str]
    digests: Mapping[str, str | None]
    labelled: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, crops: Collection[Crop], known: Collection[str]) -> Basis:
        """Record what was read before these crops were grouped."""
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
    """Changes identities, holding the gallery's lock from reading to writing.

    Args:
        following: lets those who hold names follow each change.
    """

    def __init__(self, following: Following = _followed_by_nobody) -> None:
        self._following = following

    def label(
        self, gallery: Gallery, crop_ids: Collection[str], identity: str | None
    ) -> Correction:
        """Set the identity of crops.

        Args:
            gallery: the gallery.
            crop_ids: the crops.
            identity: who they show; None marks them permanently as showing nobody known.

        Returns:
            What changed.

        Raises:
            NotFound: a crop is not in the gallery; nothing changed.
        """
        with gallery.changing():
            crops = _find(gallery, crop_ids)
            labels = dict.fromkeys((crop.crop_id for crop in crops), identity)
            changed = self._relabel(gallery, crops, labels, "hand")
        return Correction(identity, len(crops), changed)

    def merge(self, gallery: Gallery, identities: Collection[str], into: str) -> Correction:
        """Merge identities into one; later clusterings do not split it.

        Args:
            gallery: the gallery.
            identities: the identities; each must have a crop.
            into: their new name, which may be an existing identity.

        Returns:
            What changed; existing crops of ``into`` count too.

        Raises:
            NotFound: an identity has no crop; nothing changed.
        """
        with gallery.changing():
            where = Filter(identities=frozenset({*identities, into}))
            crops = gallery.crops(where)
            if missing := set(identities) - {crop.identity for crop in crops}:
                raise NotFound(f"gallery {gallery.name!r} has no identity {min(missing)!r}")
            labels = dict.fromkeys((crop.crop_id for crop in crops), into)
            changed = self._relabel(gallery, crops, labels, "hand")
        return Correction(into, len(crops), changed)

    def split(self, gallery: Gallery, crop_ids: Collection[str], into: str | None) -> Correction:
        """Move crops out of their identities into an identity of their own.

        The crops left behind are also marked as labelled by hand: otherwise the next clustering
        could assign them to the crops that were split off.

        Args:
            gallery: the gallery.
            crop_ids: the crops; each must have an identity.
            into: their new identity; None makes up a name.

        Returns:
            What changed.

        Raises:
            NotFound: a crop is not in the gallery; nothing changed.
            InvalidInput: a crop has no identity, or already has the identity ``into``.
        """
        with gallery.changing():
            crops = _find(gallery, crop_ids)
            sources = _sources(crops, into)
            behind = gallery.crops(Filter(identities=sources))
            labels = {crop.crop_id: crop.identity for crop in behind}
            name = next(fresh_names(known_identities(gallery))) if into is None else into
            labels |= dict.fromkeys((crop.crop_id for crop in crops), name)
            changed = self._relabel(gallery, crops, labels, "hand")
        return Correction(name, len(crops), changed)

    def regroup(
        self, gallery: Gallery, labels: Mapping[str, str | None], basis: Basis | None = None
    ) -> int:
        """Store the result of a clustering as far as it is still valid.

        Crops that were labelled meanwhile, or whose picture was replaced, stay as they are. If a
        person was renamed or merged meanwhile, the new name is used. An erased name does not come
        back. If a new name was given to someone else meanwhile, another name is made up. What
        joined a group and is confirmed belongs to the clustering from now on.

        Args:
            gallery: the gallery.
            labels: the identity per crop id, None for an outlier.
            basis: what the clustering saw; None if nothing can have changed since.

        Returns:
            Number of crops that changed.
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
                and (crop.identity != identity or crop.origin == "join")
            }
            return self._relabel(gallery, crops, free, "cluster") if free else 0

    def _relabel(
        self,
        gallery: Gallery,
        crops: Collection[Crop],
        labels: Mapping[str, str | None],
        origin: Origin,
    ) -> int:
        """Change identities; ``crops`` are those whose names change, as they are before."""
        leaving = {
            crop.identity
            for crop in crops
            if crop.identity is not None and labels.get(crop.crop_id, _GONE) != crop.identity
        }
        with self._following(gallery, leaving):
            return gallery.relabel(labels, origin)


def known_identities(gallery: Gallery) -> set[str]:
    """Names of all identities of a gallery."""
    crops = gallery.crops(Filter(has_identity=True))
    return {crop.identity for crop in crops if crop.identity is not None}


def _names_of_now(
    gallery: Gallery, labels: Mapping[str, str | None], basis: Basis | None
) -> dict[str | None, str | None]:
    """The present name for each name of a clustering; ``_GONE`` if it must not come back."""
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
    """The present name of a person whose old name no longer exists, from the labelled crops."""
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
            raise InvalidInput(
                f"crop {crop.crop_id!r} has no identity to split it from: label it instead"
            )
        if crop.identity == into:
            raise InvalidInput(f"crop {crop.crop_id!r} already has the identity {into!r}")
    return frozenset(crop.identity for crop in crops if crop.identity is not None)
