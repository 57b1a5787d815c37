"""From a query to what it finds: the nearest crops, deep enough for what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.errors import Unsupported
from service.gallery.base import Filter, Gallery, Hit, StandardisedHits, StandardisedQuery
from service.search.cost import GROUPED_CANDIDATES
from service.search.kreciprocal import Float32s
from service.search.multi_shot import Tally, settled, tally
from service.search.ranking import Found, Head, Ranking, group_key
from service.search.shots import Query

_ALL = 1 << 30  # hits: a query gives as many as there are


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
    return len({group_key(hit.crop) for hit in hits})


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
