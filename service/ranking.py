"""From a query to ranked candidates: nearest crops, re-ranked, grouped by identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.errors import NotFound, Unavailable, Unsupported
from service.gallery.base import (
    Crop,
    Filter,
    Gallery,
    Hit,
    StandardisedHits,
    StandardisedQuery,
)
from service.identities.scoring import IdentityScore, Tally, identity_score, settled, tally
from service.kreciprocal import Float32s, rerank
from service.search_cost import GROUPED_CANDIDATES
from service.shots import Query

_ALL = 1 << 30  # hits: a query gives as many as there are


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
class _Answer:
    hits: tuple[Hit, ...]
    nearest: float | None


@dataclass(frozen=True, slots=True)
class _Depth:
    """How deep a query has looked.

    Attributes:
        tallies: of the identities that it found before; filled.
        last: it looks no deeper, whatever it found.
        complete: there is no crop beyond what it found.
    """

    tallies: dict[str, Tally]
    last: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class _Group:
    first: Candidate
    distance: float  # the rule over its re-ranked crops; infinite where none was
    tally: Tally


def find(
    gallery: Gallery,
    queries: Sequence[Query],
    where: Filter,
    ranking: Ranking,
    groups: int | None = None,
) -> list[Found]:
    """The nearest crops of each query, deep enough for what is wanted.

    Args:
        gallery: what is searched.
        queries: Q of them.
        where: which crops take part, the same for all.
        ranking: how many are wanted.
        groups: how many identities, and crops without one, take part, where that was counted.

    Returns:
        What each found.
    """
    own = max(len(query.crop_ids) for query in queries)
    depth = max(ranking.top_k, ranking.rerank_top)
    if groups is not None and groups < ranking.top_k:
        depth = GROUPED_CANDIDATES  # there are not enough, so every look would be one too short
    found: dict[int, Found] = {}
    known: list[dict[str, Tally]] = [{} for _ in queries]
    pending = list(range(len(queries)))
    while pending:
        asked = [queries[place] for place in pending]
        answers = _nearest(gallery, asked, where, ranking, depth + own)
        last = ranking.identity_score is None or depth >= GROUPED_CANDIDATES
        for place, query, answer in zip(pending, asked, answers, strict=True):
            # One person's crops may fill the first ranks, so look deeper until top_k people are
            # found.
            seen = _Depth(known[place], last, complete=len(answer.hits) < depth + own)
            one = _found(gallery, query, answer, where, ranking, seen)
            if one is not None:
                found[place] = one
        pending = [place for place in pending if place not in found]
        depth = min(4 * depth, GROUPED_CANDIDATES)
    return _with_heads(
        gallery, queries, [found[place] for place in range(len(queries))], where, ranking
    )


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
        members.setdefault(_group_key(candidate.hit.crop), []).append(candidate)
    groups = [_of_identity(own, found.tallies, rule) for own in members.values()]
    groups.sort(key=lambda one: (one.distance, -one.tally.ranked_by))
    return [
        replace(one.first, identity_score=one.tally.score, group_size=one.tally.crops)
        for one in groups
    ]


def _nearest(
    gallery: Gallery, queries: Sequence[Query], where: Filter, ranking: Ranking, top_k: int
) -> list[_Answer]:
    """The best hits; by standardised embeddings only those that reach the line."""
    asked = StandardisedQuery(top_k, where, max(ranking.least, -1.0))
    standardised = _standardised(gallery, queries, asked, ranking)
    if standardised is not None:
        return [_Answer(answer.hits, answer.nearest) for answer in standardised]
    answers = gallery.query(_rows(queries), top_k, where)
    return [_Answer(tuple(hits), hits[0].score if hits else None) for hits in answers]


def _standardised(
    gallery: Gallery, queries: Sequence[Query], asked: StandardisedQuery, ranking: Ranking
) -> list[StandardisedHits] | None:
    if ranking.standardise is False:
        return None
    cameras = [query.camera for query in queries]
    try:
        return gallery.query_standardised(_rows(queries), cameras, asked)
    except Unsupported:
        if ranking.standardise:
            raise
        return None


def _with_heads(
    gallery: Gallery,
    queries: Sequence[Query],
    found: list[Found],
    where: Filter,
    ranking: Ranking,
) -> list[Found]:
    if not ranking.rerank_top:
        return found
    count = ranking.rerank_top + max(len(query.crop_ids) for query in queries)
    asked = StandardisedQuery(count, where, rows=count)
    answers = _standardised(gallery, queries, asked, ranking)
    if answers is None:
        return found
    heads = [
        _head(query, answer, ranking.rerank_top)
        for query, answer in zip(queries, answers, strict=True)
    ]
    return [replace(one, head=head) for one, head in zip(found, heads, strict=True)]


def _head(query: Query, answer: StandardisedHits, count: int) -> Head:
    kept = [
        place for place, hit in enumerate(answer.hits) if hit.crop.crop_id not in query.crop_ids
    ][:count]
    return Head(tuple(answer.hits[place] for place in kept), answer.query, answer.rows[kept])


def _plain_head(gallery: Gallery, query: Query, hits: tuple[Hit, ...]) -> Head:
    try:
        rows = gallery.embeddings([hit.crop.crop_id for hit in hits])
    except NotFound as error:
        raise Unavailable("crops were deleted while they were being re-ranked") from error
    return Head(hits, query.embedding, rows)


def _found(
    gallery: Gallery, query: Query, answer: _Answer, where: Filter, ranking: Ranking, depth: _Depth
) -> Found | None:
    """What a query found; None where it has to look deeper."""
    own, rule = query.crop_ids, ranking.identity_score
    others = tuple(hit for hit in answer.hits if hit.crop.crop_id not in own)
    enough = depth.last or depth.complete or _reach_the_line(others, ranking)
    # Tallies cost most: none are made where too few are found to be enough.
    if not enough and _count_groups(others) < ranking.top_k:
        return None
    tallies: dict[str, Tally] = {}
    if rule is not None and rule != "best":
        tallies = _tallies(gallery, query, others, where, ranking, depth)
        if not enough and not settled(others, tallies, ranking.top_k):
            return None
    nearest = _nearest_other(gallery, query, where, others) if own else answer.nearest
    return Found(others, nearest, tallies)


def _reach_the_line(hits: tuple[Hit, ...], ranking: Ranking) -> bool:
    """Whether whatever lies deeper is no match."""
    return not hits or hits[-1].score < ranking.least


def _count_groups(hits: tuple[Hit, ...]) -> int:
    return len({_group_key(hit.crop) for hit in hits})


def _tallies(
    gallery: Gallery,
    query: Query,
    hits: tuple[Hit, ...],
    where: Filter,
    ranking: Ranking,
    depth: _Depth,
) -> dict[str, Tally]:
    """Scores of the identities among the hits that reach the line, by all of their crops."""
    identities = {
        hit.crop.identity
        for hit in hits
        if hit.crop.identity is not None and hit.score >= ranking.least
    }
    rule, known = ranking.identity_score, depth.tallies
    new = frozenset(identities - known.keys())
    if new and rule is not None:
        if depth.complete and (hits[0].standardised is None or ranking.least <= -1.0):
            known |= tally((hit for hit in hits if hit.crop.identity in new), rule)
        else:
            theirs = replace(where, identities=new)
            (crops,) = _nearest(gallery, [query], theirs, replace(ranking, least=-1.0), _ALL)
            known |= tally(crops.hits, rule, left_out=query.crop_ids)
    return {name: known[name] for name in identities if name in known}


def _nearest_other(
    gallery: Gallery, query: Query, where: Filter, found: tuple[Hit, ...]
) -> float | None:
    """The best cosine of a crop the query is not made of."""
    if found and found[0].standardised is None:
        return found[0].score
    (hits,) = gallery.query(query.embedding[None], len(query.crop_ids) + 1, where)
    return next((hit.score for hit in hits if hit.crop.crop_id not in query.crop_ids), None)


def _rows(queries: Sequence[Query]) -> Float32s:
    return np.stack([query.embedding for query in queries])


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


def _group_key(crop: Crop) -> tuple[bool, str]:
    return (True, crop.identity) if crop.identity is not None else (False, crop.crop_id)
