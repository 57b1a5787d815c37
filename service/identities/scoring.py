"""The score of an identity from all of its crops (multi-shot)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from service.gallery.base import Filter, Gallery, Hit
from service.intake import Embedding

IdentityScore = Literal["best", "mean", "top3"]

_ALL = 1 << 30  # hits: a query gives as many as there are


@dataclass(frozen=True, slots=True)
class Tally:
    """How an identity compares with a query.

    Attributes:
        score: what its crops' cosines make, -1..1.
        crops: how many of its crops took part.
    """

    score: float
    crops: int


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
    gallery: Gallery,
    row: Embedding,
    identities: Collection[str],
    where: Filter,
    rule: IdentityScore,
    *,
    left_out: Collection[str] = (),
) -> dict[str, Tally]:
    """Score identities by all of their crops that pass the filter, however far away.

    Args:
        gallery: which holds them.
        row: (D,) float32, of unit length: the query.
        identities: which to score; those that pass the filter.
        where: which crops take part.
        rule: how cosines become one score.
        left_out: crops that take no part: those the query is made of.

    Returns:
        The tally of every identity that has a crop.
    """
    if not identities:
        return {}
    theirs = replace(where, identities=frozenset(identities))
    (hits,) = gallery.query(row[None], _ALL, theirs)
    scores: dict[str, list[float]] = defaultdict(list)
    for hit in hits:
        if hit.crop.identity is not None and hit.crop.crop_id not in left_out:
            scores[hit.crop.identity].append(hit.score)
    return {name: Tally(identity_score(own, rule), len(own)) for name, own in scores.items()}


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
    alone = {hit.crop.crop_id: hit.score for hit in hits if hit.crop.identity is None}
    scores = sorted([*alone.values(), *(own.score for own in tallies.values())], reverse=True)
    return len(scores) >= wanted and scores[wanted - 1] > hits[-1].score
