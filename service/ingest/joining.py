"""Use what a gallery already knows about crops that are about to be stored."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop, Filter, Hit
from service.gallery.protocol import Gallery
from service.model.manifest import Calibration

_TIMES_LIKELIER = 4.0
_FIRST_LOOK = 32
_DEEPEST = 4096  # crops; beyond this many crops of one person no rival is searched for


@dataclass(frozen=True, slots=True)
class JoinRule:
    """When a crop joins the identity of the nearest crop.

    The threshold is calibrated on single pairs. In a whole gallery some crop nearly always reaches
    it, so the nearest identity must also be four times as likely as the next one.

    Attributes:
        threshold: smallest cosine with the nearest crop.
        lead: smallest lead over the nearest crop of any other identity.
    """

    threshold: float
    lead: float

    @classmethod
    def of(cls, calibration: Calibration | None) -> Self | None:
        """Derive the rule from a model's calibration, which turns cosines into odds.

        Args:
            calibration: the model's, if it has one.

        Returns:
            The rule; None if there are no odds: no calibration, or one without genuine pairs.
        """
        if calibration is None or calibration.slope is None:
            return None
        return cls(calibration.threshold, math.log(_TIMES_LIKELIER) / calibration.slope)

    def choose(self, hits: Sequence[Hit]) -> str | None:
        """Choose the identity to join.

        Args:
            hits: the nearest crops that have an identity, best first.

        Returns:
            Its name; None if no identity is near enough, or two are about equally near.
        """
        if not hits or hits[0].score < self.threshold:
            return None
        best = hits[0]
        rival = next((hit for hit in hits if hit.crop.identity != best.crop.identity), None)
        if rival is not None and best.score - rival.score < self.lead:
            return None
        return best.crop.identity

    def is_open(self, hits: Sequence[Hit]) -> bool:
        """Whether crops beyond these hits could change the choice.

        Args:
            hits: the nearest crops that have an identity, best first.
        """
        if self.choose(hits) is None:
            return False
        alike = all(hit.crop.identity == hits[0].crop.identity for hit in hits)
        return alike and hits[0].score - hits[-1].score < self.lead


def join_groups(
    gallery: Gallery, crops: Sequence[Crop], rows: NDArray[np.float32], rule: JoinRule
) -> list[Crop]:
    """Assign crops without an identity to the nearest identity, if the choice is clear.

    Args:
        gallery: its crops with an identity are the groups to join.
        crops: N crops.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        rule: how near and how clear the choice must be.

    Returns:
        N crops; those that joined have the origin ``cluster``.
    """
    joined = list(crops)
    alone = [i for i, crop in enumerate(crops) if crop.identity is None and crop.origin != "hand"]
    # A crop that is about to be replaced must not match itself.
    coming = {crop.crop_id for crop in crops}
    depth = _FIRST_LOOK + len(coming)
    while alone:
        found = gallery.query(rows[alone], depth, Filter(has_identity=True))
        undecided = []
        for index, hits in zip(alone, found, strict=True):
            others = [hit for hit in hits if hit.crop.crop_id not in coming]
            if rule.is_open(others) and len(hits) == depth < _DEEPEST:
                undecided.append(index)
            elif (identity := rule.choose(others)) is not None:
                joined[index] = replace(crops[index], identity=identity, origin="cluster")
        alone, depth = undecided, 4 * depth
    return joined


def stored_crops(gallery: Gallery, crop_ids: Collection[str]) -> dict[str, Crop]:
    """Look up crops by id.

    Args:
        gallery: the gallery.
        crop_ids: any ids.

    Returns:
        The crops that exist, by id.
    """
    where = Filter(crop_ids=frozenset(crop_ids))
    page = gallery.page(where, max(len(crop_ids), 1))
    return {crop.crop_id: crop for crop in page.crops}
