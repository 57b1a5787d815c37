"""What a gallery knows already of crops that are about to be stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop, Filter, Gallery


def keep_findings(crops: Sequence[Crop], stored: Mapping[str, Crop]) -> list[Crop]:
    """Keep who a picture shows where the same picture is sent again.

    What a person said stays whatever is sent; what a clustering said stays unless an identity is
    sent. Another picture under the same id is another crop and keeps nothing.

    Args:
        crops: N crops with their digests.
        stored: what the gallery holds under their ids.

    Returns:
        N crops.
    """
    return [_keep(crop, stored.get(crop.crop_id)) for crop in crops]


def join_groups(
    gallery: Gallery, crops: Sequence[Crop], rows: NDArray[np.float32], threshold: float
) -> list[Crop]:
    """Give crops without an identity that of the nearest crop, where it is near enough.

    Args:
        gallery: its crops with an identity are the groups.
        crops: N crops.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        threshold: least cosine.

    Returns:
        N crops; those that joined have the origin ``cluster``.
    """
    joined = list(crops)
    alone = [i for i, crop in enumerate(crops) if crop.identity is None and crop.origin != "hand"]
    if not alone:
        return joined
    coming = {crop.crop_id for crop in crops}
    # Those that are about to be replaced must not vouch for themselves.
    found = gallery.query(rows[alone], 1 + len(coming), Filter(has_identity=True))
    for index, hits in zip(alone, found, strict=True):
        others = [hit for hit in hits if hit.crop.crop_id not in coming]
        if others and others[0].score >= threshold:
            joined[index] = replace(
                crops[index], identity=others[0].crop.identity, origin="cluster"
            )
    return joined


def stored_crops(gallery: Gallery, crop_ids: Collection[str]) -> dict[str, Crop]:
    """What the gallery holds under these ids.

    Args:
        gallery: which.
        crop_ids: any ids.

    Returns:
        The crops there are, by id.
    """
    where = Filter(crop_ids=frozenset(crop_ids))
    page = gallery.page(where, max(len(crop_ids), 1))
    return {crop.crop_id: crop for crop in page.crops}


def _keep(crop: Crop, before: Crop | None) -> Crop:
    if before is None or before.digest is None or before.digest != crop.digest:
        return crop
    if before.origin == "hand" or (before.origin == "cluster" and crop.identity is None):
        return replace(crop, identity=before.identity, origin=before.origin)
    return crop
