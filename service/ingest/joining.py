"""Give crops that are about to be stored the identity that they clearly belong to.

What joined attracts nobody else: otherwise each stranger that joins by mistake draws the next one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import TOLD, Crop, Filter, Hit
from service.gallery.protocol import Gallery
from service.ingest.claims import Claims
from service.ingest.joiners import Joiner, joiners_of
from service.model.manifest import Calibration

_TIMES_LIKELIER = 4.0
_FIRST_LOOK = 32
_DEEPEST = 4096  # crops; beyond this many crops of one person no rival is searched for
_ATTRACTING = Filter(has_identity=True, origins=TOLD)


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


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining decided.

    Attributes:
        crops: the crops to store; those that joined have the origin ``join``.
        earlier: new identities of crops that are stored already, of the same tracks, by id.
    """

    crops: list[Crop]
    earlier: dict[str, str]


def join_groups(
    gallery: Gallery,
    crops: Sequence[Crop],
    rows: NDArray[np.float32],
    rule: JoinRule,
    frames: Sequence[int | None] = (),
) -> Joined:
    """Assign crops without an identity to the nearest identity, if the choice is clear.

    A track is judged as a whole, by the mean of its embeddings. Later crops of a track take the
    identity that it has; while it has none, it is judged again whenever its crops have doubled.
    Nobody joins a person who was elsewhere in the same frame, or in the same camera's view at the
    same time.

    Args:
        gallery: its crops with an identity are the groups to join, except those that only joined;
            the caller holds its lock until the crops are stored.
        crops: N crops.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        rule: how near and how clear the choice must be.
        frames: N numbers of the frames that the crops were cut out of, where known; or none.

    Returns:
        N crops, and what their tracks' earlier crops become.
    """
    joiners = joiners_of(gallery, crops, frames)
    # A crop that is about to be replaced must not match itself.
    coming = {crop.crop_id for crop in crops}
    claims = Claims(gallery, crops, frames, joiners)
    due = [one for one in joiners if one.is_due]
    for joiner, identity in _choices(gallery, rows, due, coming, rule):
        claims.claim(joiner, identity)
    joined, earlier = list(crops), dict[str, str]()
    for joiner, identity in claims.granted:
        for index in joiner.nameless:
            joined[index] = replace(crops[index], identity=identity, origin="join")
        earlier |= dict.fromkeys(joiner.earlier_nameless, identity)
    return Joined(joined, earlier)


def _choices(
    gallery: Gallery,
    rows: NDArray[np.float32],
    joiners: Sequence[Joiner],
    coming: Collection[str],
    rule: JoinRule,
) -> list[tuple[Joiner, str]]:
    """The identity that each joiner would join, if any; the nearest ones first."""
    chosen: list[tuple[float, int, str]] = []
    queries = [one.embedding(gallery, rows) for one in joiners]
    left, depth = list(range(len(joiners))), _FIRST_LOOK + len(coming)
    while left:
        found = gallery.query(np.stack([queries[at] for at in left]), depth, _ATTRACTING)
        undecided = []
        for at, hits in zip(left, found, strict=True):
            others = [hit for hit in hits if hit.crop.crop_id not in coming]
            if rule.is_open(others) and len(hits) == depth < _DEEPEST:
                undecided.append(at)
            elif (identity := rule.choose(others)) is not None:
                chosen.append((-others[0].score, at, identity))
        left, depth = undecided, 4 * depth
    return [(joiners[at], identity) for _, at, identity in sorted(chosen)]


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
