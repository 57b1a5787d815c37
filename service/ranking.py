"""From a query to ranked candidates: nearest crops, re-ranked, grouped by identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.errors import NotFound, Unavailable
from service.gallery.base import Crop, Filter, Gallery, Hit
from service.identities.scoring import IdentityScore, Tally, identity_score, settled, tally
from service.kreciprocal import rerank
from service.shots import Query

GROUPED_CANDIDATES = 10_000
"""Grouping by identity looks at no more than this many crops of the gallery."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How candidates are found and ordered.

    Attributes:
        top_k: how many crops, or identities, are wanted.
        least: least cosine of a match.
        rerank_top: re-rank this many of the nearest crops; 0 does not.
        identity_score: group by identity and rank by this score; None does not group.
    """

    top_k: int
    least: float
    rerank_top: int
    identity_score: IdentityScore | None


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
        tallies: scores of the identities among them, where all of their crops count.
    """

    hits: tuple[Hit, ...]
    tallies: dict[str, Tally]


@dataclass(frozen=True, slots=True)
class _Group:
    first: Candidate
    distance: float  # the rule over its re-ranked crops; infinite where none was
    tally: Tally


def find(
    gallery: Gallery, queries: Sequence[Query], where: Filter, ranking: Ranking
) -> list[Found]:
    """The nearest crops of each query, deep enough for what is wanted.

    Args:
        gallery: what is searched.
        queries: Q of them.
        where: which crops take part, the same for all.
        ranking: how many are wanted.

    Returns:
        What each found.
    """
    rows = np.stack([query.embedding for query in queries])
    own = max(len(query.crop_ids) for query in queries)
    depth = max(ranking.top_k, ranking.rerank_top)
    while True:
        answers = gallery.query(rows, depth + own, where)
        # One person's crops may fill the first ranks, so look deeper until top_k people are found.
        complete = [len(hits) < depth + own for hits in answers]
        found = [
            _found(gallery, query, hits, where, ranking)
            for query, hits in zip(queries, answers, strict=True)
        ]
        if (
            ranking.identity_score is None
            or depth >= GROUPED_CANDIDATES
            or all(done or _enough(one, ranking) for done, one in zip(complete, found, strict=True))
        ):
            return found
        depth = min(4 * depth, GROUPED_CANDIDATES)


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
    head = found.hits[: ranking.rerank_top]
    tail = [Candidate(hit) for hit in found.hits[ranking.rerank_top :]]
    if not head:
        return tail
    try:
        rows = gallery.embeddings([hit.crop.crop_id for hit in head])
    except NotFound as error:
        raise Unavailable("crops were deleted while they were being re-ranked") from error
    distances = rerank(query.embedding[None], rows)[0]
    order = np.argsort(distances, kind="stable")
    return [Candidate(head[index], float(distances[index])) for index in order] + tail


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
        members.setdefault(_group_key(candidate.hit.crop), []).append(candidate)
    groups = [_of_identity(own, found.tallies, rule) for own in members.values()]
    groups.sort(key=lambda one: (one.distance, -one.tally.score))
    return [
        replace(one.first, identity_score=one.tally.score, group_size=one.tally.crops)
        for one in groups
    ]


def _found(
    gallery: Gallery, query: Query, hits: Sequence[Hit], where: Filter, ranking: Ranking
) -> Found:
    own = query.crop_ids
    others = tuple(hit for hit in hits if hit.crop.crop_id not in own)
    rule = ranking.identity_score
    if rule is None or rule == "best":
        return Found(others, {})
    identities = {
        hit.crop.identity
        for hit in others
        if hit.crop.identity is not None and hit.score >= ranking.least
    }
    row = query.embedding
    return Found(others, tally(gallery, row, identities, where, rule, left_out=own))


def _enough(found: Found, ranking: Ranking) -> bool:
    """Whether looking deeper cannot change which identities are the best."""
    hits = found.hits
    if not hits or hits[-1].score < ranking.least:
        return True
    if ranking.identity_score == "best":
        return len({_group_key(hit.crop) for hit in hits}) >= ranking.top_k
    return settled(hits, found.tallies, ranking.top_k)


def _of_identity(
    own: Sequence[Candidate], tallies: dict[str, Tally], rule: IdentityScore
) -> _Group:
    """What the found crops of one identity make, or all of its crops where they were scored."""
    first = own[0]
    known = tallies.get(first.hit.crop.identity or "")
    if known is None:
        known = Tally(identity_score((one.hit.score for one in own), rule), len(own))
    near = [-one.rerank_distance for one in own if one.rerank_distance is not None]
    distance = -identity_score(near, rule) if near else math.inf
    return _Group(first, distance, known)


def _group_key(crop: Crop) -> tuple[bool, str]:
    return (True, crop.identity) if crop.identity is not None else (False, crop.crop_id)
