"""The score of an identity from all of its crops (multi-shot)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from service.gallery.base import Hit
from service.values import vocabulary

IdentityScore = vocabulary.IdentityScore


@dataclass(frozen=True, slots=True)
class Tally:
    """How an identity compares with a query.

    Attributes:
        score: what its crops' cosines make, -1..1.
        ranked_by: what ranks it: the same of standardised cosines where it was found by those.
        crops: how many of its crops took part.
    """

    score: float
    ranked_by: float
    crops: int

    @classmethod
    def of(cls, hits: Sequence[Hit], rule: IdentityScore) -> Tally:
        """The tally of one identity.

        Args:
            hits: crops of it, at least one.
            rule: how cosines become one score.

        Returns:
            The tally.
        """
        score = identity_score((hit.score for hit in hits), rule)
        return cls(score, identity_score((hit.ranked_by for hit in hits), rule), len(hits))


def identity_score(scores: Iterable[float], rule: IdentityScore) -> float:
    """One score of many.

    Args:
        scores: at least one.
        rule: ``best`` the greatest, ``mean`` their mean, ``top3`` the mean of the three greatest,
            or of all where there are fewer.

    Returns:
        The score.
    """
    ranked = sorted(scores, reverse=True)
    match rule:
        case "best":
            part = ranked[:1]
        case "mean":
            part = ranked
        case "top3":
            part = ranked[:3]
    return math.fsum(part) / len(part)


def tally(
    hits: Iterable[Hit], rule: IdentityScore, *, left_out: Collection[str] = ()
) -> dict[str, Tally]:
    """Score identities by all of their crops, however far away.

    Args:
        hits: every crop of the identities that passes the filter.
        rule: how cosines become one score.
        left_out: crops that take no part: those the query is made of.

    Returns:
        The tally of every identity that has a crop.
    """
    crops: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        if hit.crop.identity is not None and hit.crop.crop_id not in left_out:
            crops[hit.crop.identity].append(hit)
    return {name: Tally.of(own, rule) for name, own in crops.items()}


def settled(hits: Sequence[Hit], tallies: dict[str, Tally], wanted: int) -> bool:
    """Whether no identity beyond these hits can be among the best.

    Neither mean nor top3 exceeds the best crop's cosine, and beyond the hits no crop's exceeds the
    last hit's (the threshold algorithm: Fagin, Lotem, Naor, PODS 2001).

    Args:
        hits: the nearest crops, best first.
        tallies: of every identity among them.
        wanted: how many identities are asked for.

    Returns:
        Whether the best ``wanted`` of these are the best there are.
    """
    alone = {hit.crop.crop_id: hit.ranked_by for hit in hits if hit.crop.identity is None}
    scores = sorted([*alone.values(), *(own.ranked_by for own in tallies.values())], reverse=True)
    return len(scores) >= wanted and scores[wanted - 1] > hits[-1].ranked_by
