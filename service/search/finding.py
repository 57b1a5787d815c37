"""Find the nearest crops of each query, looking deep enough to fill the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.gallery.base import Filter, Hit, StandardisedHits
from service.gallery.protocol import Gallery
from service.search.answers import Answers, answers_of
from service.search.cost import GROUPED_CANDIDATES
from service.search.multi_shot import Tally, settled, tally
from service.search.options import SearchOptions
from service.search.ranking import Found, group_key
from service.search.shots import Query


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
        groups: how many groups pass the filter, as of ``options.group_by``, if counted.

    Returns:
        What each query found.
    """
    answers = answers_of(gallery, queries, where, options)
    own = max(len(query.crop_ids) for query in queries)
    depth = max(options.top_k, options.rerank_top)
    if groups is not None and groups < options.top_k:
        depth = GROUPED_CANDIDATES  # there are too few groups, so every shallower look would fail
    found: dict[int, Found] = {}
    known: list[dict[str, Tally]] = [{} for _ in queries]
    pending = list(range(len(queries)))
    while pending:
        # One group's crops may fill the first ranks, so look deeper until top_k groups are found.
        last = options.group_by == "none" or depth >= GROUPED_CANDIDATES
        for place, answer in zip(pending, answers.nearest(pending, depth + own), strict=True):
            complete = len(answer.hits) < depth + own
            look = _Look(answers, place, queries[place], options, complete=complete)
            one = look.found(answer, known[place], last=last)
            if one is not None:
                found[place] = one
        pending = [place for place in pending if place not in found]
        depth = min(4 * depth, GROUPED_CANDIDATES)
    return [
        replace(found[place], head=_head(answers, place, query, options))
        for place, query in enumerate(queries)
    ]


def _head(
    answers: Answers, place: int, query: Query, options: SearchOptions
) -> StandardisedHits | None:
    """The crops to re-rank, without those that make the query; None to re-rank plain hits."""
    if not options.rerank_top:
        return None
    answer = answers.head(place, options.rerank_top + len(query.crop_ids))
    if answer is None:
        return None
    kept = [rank for rank, hit in enumerate(answer.hits) if hit.crop.crop_id not in query.crop_ids]
    kept = kept[: options.rerank_top]
    hits = tuple(answer.hits[rank] for rank in kept)
    return replace(answer, hits=hits, rows=answer.rows[kept])


class _Look:
    """One look at a gallery for one query, to a certain depth.

    Args:
        answers: what the gallery answers.
        place: which of its queries this is.
        query: what is searched for.
        options: how many matches are wanted, and how they are ranked.
        complete: no crop lies beyond what this look found.
    """

    def __init__(
        self,
        answers: Answers,
        place: int,
        query: Query,
        options: SearchOptions,
        *,
        complete: bool,
    ) -> None:
        self._answers = answers
        self._place = place
        self._query = query
        self._options = options
        self._complete = complete

    def found(self, answer: Found, known: dict[str, Tally], *, last: bool) -> Found | None:
        """What the query found; None if a deeper look is needed.

        Args:
            answer: the hits of this look.
            known: tallies of identities found by earlier looks; new ones are added.
            last: accept the hits even if they are too few.
        """
        own, wanted, by = self._query.crop_ids, self._options.top_k, self._options.group_by
        others = tuple(hit for hit in answer.hits if hit.crop.crop_id not in own)
        enough = last or self._complete or self._reaches_threshold(others)
        # Tallies are the expensive part: make none if the hits are too few anyway.
        if not enough and len({group_key(hit.crop, by) for hit in others}) < wanted:
            return None
        tallies: dict[str, Tally] = {}
        if by == "identity" and self._options.identity_score != "best":
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
        if new:
            if self._complete and (hits[0].standardised is None or least <= -1.0):
                known |= tally((hit for hit in hits if hit.crop.identity in new), rule)
            else:
                crops = self._answers.crops_of(self._place, new)
                known |= tally(crops, rule, left_out=self._query.crop_ids)
        return {name: known[name] for name in identities if name in known}

    def _nearest_other(self, found: tuple[Hit, ...]) -> float | None:
        """The best cosine of a crop that is not part of the query."""
        if found and found[0].standardised is None:
            return found[0].score
        return self._answers.nearest_but(self._place, self._query.crop_ids)
