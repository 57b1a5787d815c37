"""Score an identity from all of its crops (multi-shot)."""

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
        score: the score of its crops' cosines, -1..1.
        ranked_by: the score it is ranked by; from standardised cosines if those were searched.
        crops: how many of its crops count.
    """

    score: float
    ranked_by: float
    crops: int

    @classmethod
    def of(cls, hits: Sequence[Hit], rule: IdentityScore) -> Tally:
        """The tally of one identity.

        Args:
            hits: its crops, at least one.
            rule: how several cosines make one score.

        Returns:
            The tally.
        """
        score = identity_score((hit.score for hit in hits), rule)
        return cls(score, identity_score((hit.ranked_by for hit in hits), rule), len(hits))


def identity_score(scores: Iterable[float], rule: IdentityScore) -> float:
    """Combine several scores into one.

    Args:
        scores: at least one.
        rule: ``best`` takes the greatest, ``mean`` their mean, ``top3`` the mean of the three
            greatest (or of all, if there are fewer).

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
    """Score identities by all of their crops, near or far.

    Args:
        hits: every crop of these identities that passes the filter.
        rule: how several cosines make one score.
        left_out: ids of crops that do not count, because they make the query.

    Returns:
        The tally of each identity with at least one crop.
    """
    crops: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        if hit.crop.identity is not None and hit.crop.crop_id not in left_out:
            crops[hit.crop.identity].append(hit)
    return {name: Tally.of(own, rule) for name, own in crops.items()}


def settled(hits: Sequence[Hit], tallies: dict[str, Tally], wanted: int) -> bool:
    """Whether no identity beyond these hits can be among the best.

    The mean and top3 scores never exceed the cosine of the identity's best crop, and no crop beyond
    the hits exceeds the last hit (threshold algorithm: Fagin, Lotem, Naor, PODS 2001).

    Args:
        hits: the nearest crops, best first.
        tallies: of every identity among them.
        wanted: number of identities asked for.

    Returns:
        True if the best ``wanted`` groups of these hits are the best of the whole gallery.
    """
    alone = {hit.crop.crop_id: hit.ranked_by for hit in hits if hit.crop.identity is None}
    scores = sorted([*alone.values(), *(own.ranked_by for own in tallies.values())], reverse=True)
    return len(scores) >= wanted and scores[wanted - 1] > hits[-1].ranked_by
