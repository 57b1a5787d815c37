"""Find the nearest crops of each query, looking deep enough to fill the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.errors import Unsupported
from service.gallery.base import Filter, Hit, StandardisedHits, StandardisedQuery
from service.gallery.protocol import Gallery
from service.search.cost import GROUPED_CANDIDATES
from service.search.kreciprocal import Float32s
from service.search.multi_shot import Tally, settled, tally
from service.search.options import SearchOptions
from service.search.ranking import Found, group_key
from service.search.shots import Query

_ALL = 1 << 30  # as many hits as there are


def find(
    gallery: Gallery,
    queries: Sequence[Query],
    where: Filter,
    options: SearchOptions,
    groups: int | None = None,
) -> list[Found]:
    """Find the nearest crops of each query, looking deep enough to fill the answer.

    Args:
        gallery: the gallery to search.
        queries: Q queries.
        where: which crops may answer them.
        options: how many matches are wanted, and how they are ranked.
        groups: how many groups pass the filter (identities, and crops without one), if counted.

    Returns:
        What each query found.
    """
    own = max(len(query.crop_ids) for query in queries)
    depth = max(options.top_k, options.rerank_top)
    if groups is not None and groups < options.top_k:
        depth = GROUPED_CANDIDATES  # there are too few groups, so every shallower look would fail
    found: dict[int, Found] = {}
    known: list[dict[str, Tally]] = [{} for _ in queries]
    pending = list(range(len(queries)))
    while pending:
        # One person's crops may fill the first ranks, so look deeper until top_k people are found.
        asked = [queries[place] for place in pending]
        answers = _nearest(gallery, asked, where, options, depth + own)
        last = options.identity_score is None or depth >= GROUPED_CANDIDATES
        for place, query, answer in zip(pending, asked, answers, strict=True):
            look = _Look(gallery, query, where, options, complete=len(answer.hits) < depth + own)
            one = look.found(answer, known[place], last=last)
            if one is not None:
                found[place] = one
        pending = [place for place in pending if place not in found]
        depth = min(4 * depth, GROUPED_CANDIDATES)
    return _with_heads(
        gallery, queries, [found[place] for place in range(len(queries))], where, options
    )


def _nearest(
    gallery: Gallery, queries: Sequence[Query], where: Filter, options: SearchOptions, top_k: int
) -> list[Found]:
    """The best hits; with standardised embeddings only those that reach ``min_score``."""
    asked = StandardisedQuery(top_k, where, max(options.least, -1.0))
    standardised = _standardised(gallery, queries, asked, options)
    if standardised is not None:
        return [Found(answer.hits, answer.nearest) for answer in standardised]
    answers = gallery.query(_rows(queries), top_k, where)
    return [Found(tuple(hits), hits[0].score if hits else None) for hits in answers]


def _standardised(
    gallery: Gallery, queries: Sequence[Query], asked: StandardisedQuery, options: SearchOptions
) -> list[StandardisedHits] | None:
    """The answers by standardised embeddings; None to use plain ones."""
    if options.standardise is False:
        return None
    cameras = [query.camera for query in queries]
    try:
        return gallery.query_standardised(_rows(queries), cameras, asked)
    except Unsupported:
        if options.standardise:
            raise
        return None


def _with_heads(
    gallery: Gallery,
    queries: Sequence[Query],
    found: list[Found],
    where: Filter,
    options: SearchOptions,
) -> list[Found]:
    """Add the standardised embeddings to re-rank by, if they are used."""
    if not options.rerank_top:
        return found
    count = options.rerank_top + max(len(query.crop_ids) for query in queries)
    asked = StandardisedQuery(count, where, rows=count)
    answers = _standardised(gallery, queries, asked, options)
    if answers is None:
        return found
    heads = [
        _head(query, answer, options.rerank_top)
        for query, answer in zip(queries, answers, strict=True)
    ]
    return [replace(one, head=head) for one, head in zip(found, heads, strict=True)]


def _head(query: Query, answer: StandardisedHits, count: int) -> StandardisedHits:
    """The first ``count`` hits without the crops that make the query."""
    kept = [
        place for place, hit in enumerate(answer.hits) if hit.crop.crop_id not in query.crop_ids
    ][:count]
    hits = tuple(answer.hits[place] for place in kept)
    return replace(answer, hits=hits, rows=answer.rows[kept])


class _Look:
    """One look at a gallery for one query, to a certain depth.

    Args:
        gallery: the gallery searched.
        query: what is searched for.
        where: which crops may answer.
        options: how many matches are wanted, and how they are ranked.
        complete: no crop lies beyond what this look found.
    """

    def __init__(
        self,
        gallery: Gallery,
        query: Query,
        where: Filter,
        options: SearchOptions,
        *,
        complete: bool,
    ) -> None:
        self._gallery = gallery
        self._query = query
        self._where = where
        self._options = options
        self._complete = complete

    def found(self, answer: Found, known: dict[str, Tally], *, last: bool) -> Found | None:
        """What the query found; None if a deeper look is needed.

        Args:
            answer: the hits of this look.
            known: tallies of identities found by earlier looks; new ones are added.
            last: accept the hits even if they are too few.
        """
        own, rule, wanted = self._query.crop_ids, self._options.identity_score, self._options.top_k
        others = tuple(hit for hit in answer.hits if hit.crop.crop_id not in own)
        enough = last or self._complete or self._reaches_threshold(others)
        # Tallies are the expensive part: make none if the hits are too few anyway.
        if not enough and _count_groups(others) < wanted:
            return None
        tallies: dict[str, Tally] = {}
        if rule is not None and rule != "best":
            tallies = self._tallies(others, known)
            if not enough and not settled(others, tallies, wanted):
                return None
        nearest = self._nearest_other(others) if own else answer.nearest
        return Found(others, nearest, tallies)

    def _reaches_threshold(self, hits: tuple[Hit, ...]) -> bool:
        """Whether the hits go down to ``min_score``, so that no crop beyond them can match."""
        return not hits or hits[-1].score < self._options.least

    def _tallies(self, hits: tuple[Hit, ...], known: dict[str, Tally]) -> dict[str, Tally]:
        """Scores of the identities of matching hits, from all of their crops."""
        rule, least = self._options.identity_score, self._options.least
        identities = {
            hit.crop.identity
            for hit in hits
            if hit.crop.identity is not None and hit.score >= least
        }
        new = frozenset(identities - known.keys())
        if new and rule is not None:
            if self._complete and (hits[0].standardised is None or least <= -1.0):
                known |= tally((hit for hit in hits if hit.crop.identity in new), rule)
            else:
                theirs = replace(self._where, identities=new)
                every = replace(self._options, min_score=-1.0)
                (crops,) = _nearest(self._gallery, [self._query], theirs, every, _ALL)
                known |= tally(crops.hits, rule, left_out=self._query.crop_ids)
        return {name: known[name] for name in identities if name in known}

    def _nearest_other(self, found: tuple[Hit, ...]) -> float | None:
        """The best cosine of a crop that is not part of the query."""
        if found and found[0].standardised is None:
            return found[0].score
        query = self._query
        (hits,) = self._gallery.query(query.embedding[None], len(query.crop_ids) + 1, self._where)
        return next((hit.score for hit in hits if hit.crop.crop_id not in query.crop_ids), None)


def _count_groups(hits: tuple[Hit, ...]) -> int:
    return len({group_key(hit.crop) for hit in hits})


def _rows(queries: Sequence[Query]) -> Float32s:
    return np.stack([query.embedding for query in queries])
