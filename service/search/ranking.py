"""From what a query found to ranked candidates: re-ranked, grouped by identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.errors import NotFound, Unavailable
from service.gallery.base import Crop, Gallery, Hit
from service.search.kreciprocal import Float32s, rerank
from service.search.multi_shot import IdentityScore, Tally, identity_score
from service.search.shots import Query


@dataclass(frozen=True, slots=True)
class Ranking:
    """How candidates are found and ordered.

    Attributes:
        top_k: how many crops, or identities, are wanted.
        least: least cosine of a match.
        rerank_top: re-rank this many of the nearest crops; 0 does not.
        identity_score: group by identity and rank by this score; None does not group.
        standardise: rank by standardised embeddings; None where the gallery can.
    """

    top_k: int
    least: float
    rerank_top: int
    identity_score: IdentityScore | None
    standardise: bool | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A crop that may be a match.

    Attributes:
        hit: the crop and its cosine.
        rerank_distance: k-reciprocal distance, where it was re-ranked.
        identity_score: the score of its identity, where candidates are grouped.
        group_size: crops of its identity that count, where candidates are grouped.
    """

    hit: Hit
    rerank_distance: float | None = None
    identity_score: float | None = None
    group_size: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found.

    Attributes:
        hits: the nearest crops, best first; none of those the query is made of.
        nearest: the best cosine there was, None where no crop took part.
        tallies: scores of the identities among them, where all of their crops count.
        head: the crops that are re-ranked, where embeddings are standardised.
    """

    hits: tuple[Hit, ...]
    nearest: float | None
    tallies: dict[str, Tally]
    head: Head | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Crops that are re-ranked by standardised embeddings.

    Attributes:
        hits: N crops, whether or not they reach the line: near crops of others tell who is near.
        query: (D,) float32, standardised.
        rows: (N, D) float32, standardised; row i belongs to hit i.
    """

    hits: tuple[Hit, ...]
    query: Float32s
    rows: Float32s


@dataclass(frozen=True, slots=True)
class _Group:
    first: Candidate
    distance: float  # the rule over its re-ranked crops; infinite where none was
    tally: Tally


def rank(gallery: Gallery, query: Query, found: Found, ranking: Ranking) -> list[Candidate]:
    """Candidates in the order of the answer, whether or not they reach the line.

    Args:
        gallery: what is searched.
        query: one query.
        found: what it found.
        ranking: how they are ordered.

    Returns:
        Crops, best first; re-ranked ones before the others.

    Raises:
        Unavailable: crops vanished meanwhile.
    """
    if not ranking.rerank_top or not found.hits:
        return [Candidate(hit) for hit in found.hits]
    head = found.head or _plain_head(gallery, query, found.hits[: ranking.rerank_top])
    distances = rerank(head.query[None], head.rows)[0]
    order = np.argsort(distances, kind="stable")
    reranked = {hit.crop.crop_id for hit in head.hits}
    tail = [Candidate(hit) for hit in found.hits if hit.crop.crop_id not in reranked]
    return [Candidate(head.hits[index], float(distances[index])) for index in order] + tail


def group(candidates: Sequence[Candidate], found: Found, rule: IdentityScore) -> list[Candidate]:
    """The first candidate of every identity; a crop without one stands for itself.

    Identities with re-ranked crops come first, by the same rule over the distances of those crops;
    the others follow by their score.

    Args:
        candidates: matching crops, in the order of the answer.
        found: knows the identities' scores.
        rule: how many crops make one score.

    Returns:
        A candidate an identity, with the identity's score and size.
    """
    members: dict[tuple[bool, str], list[Candidate]] = {}
    for candidate in candidates:
        members.setdefault(group_key(candidate.hit.crop), []).append(candidate)
    groups = [_of_identity(own, found.tallies, rule) for own in members.values()]
    groups.sort(key=lambda one: (one.distance, -one.tally.ranked_by))
    return [
        replace(one.first, identity_score=one.tally.score, group_size=one.tally.crops)
        for one in groups
    ]


def _plain_head(gallery: Gallery, query: Query, hits: tuple[Hit, ...]) -> Head:
    try:
        rows = gallery.embeddings([hit.crop.crop_id for hit in hits])
    except NotFound as error:
        raise Unavailable("crops were deleted while they were being re-ranked") from error
    return Head(hits, query.embedding, rows)


def _of_identity(
    own: Sequence[Candidate], tallies: dict[str, Tally], rule: IdentityScore
) -> _Group:
    """What the found crops of one identity make, or all of its crops where they were scored."""
    first = own[0]
    known = tallies.get(first.hit.crop.identity or "")
    if known is None:
        known = Tally.of([one.hit for one in own], rule)
    near = [-one.rerank_distance for one in own if one.rerank_distance is not None]
    distance = -identity_score(near, rule) if near else math.inf
    return _Group(first, distance, known)


def group_key(crop: Crop) -> tuple[bool, str]:
    """What a crop is grouped by: its identity, or where it has none itself."""
    return (True, crop.identity) if crop.identity is not None else (False, crop.crop_id)
