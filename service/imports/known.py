"""What an import may change of a crop that is there already."""

from __future__ import annotations

from dataclasses import replace

from service.gallery.base import Crop


def as_stored(crop: Crop, known: Crop | None) -> Crop:
    """A crop as an import stores it.

    What a hand has corrected stays corrected. What a clustering has found stays until somebody
    names the identity.

    Args:
        crop: as the import has it.
        known: as the gallery has it, None where it does not.

    Returns:
        The crop, with the identity that counts; equal to ``known`` where nothing changes.
    """
    if known is None or known.origin == "given":
        return crop
    if known.origin == "cluster" and crop.identity is not None:
        return crop
    return replace(crop, identity=known.identity, origin=known.origin)
