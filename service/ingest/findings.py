"""Keep what a gallery knows about a picture when the same picture is sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.gallery.base import Crop


def keep_known_identities(crops: Sequence[Crop], stored: Mapping[str, Crop]) -> list[Crop]:
    """Keep the known identity of a picture that is sent again.

    An identity set by a person always stays. One found by clustering or joining stays unless an
    identity is sent. A different picture under the same id is a new crop and keeps nothing.

    Args:
        crops: N crops with their digests.
        stored: what the gallery holds under their ids.

    Returns:
        N crops.
    """
    return [_keep(crop, stored.get(crop.crop_id)) for crop in crops]


def _keep(crop: Crop, before: Crop | None) -> Crop:
    if before is None or before.digest is None or before.digest != crop.digest:
        return crop
    found = before.origin in {"cluster", "join"}
    if before.origin == "hand" or (found and crop.identity is None):
        return replace(crop, identity=before.identity, origin=before.origin)
    return crop
