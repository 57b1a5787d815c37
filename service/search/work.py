"""The work of one search once its pictures are embedded, in steps of a few queries.

Whoever runs the steps may stop, or let others go first, between any two of them. The answer to a
query does not depend on which others share its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from service.embedding.shelf import OpenGallery
from service.errors import InvalidInput
from service.gallery.base import Crop, Filter, Gallery
from service.gallery.filter_warnings import FilterWarning, warnings_of
from service.machine.stopwatch import Stopwatch
from service.search.cost import SearchCost
from service.search.finding import find
from service.search.options import SearchOptions, SearchOutcome
from service.search.ranking import Ranking, rank
from service.search.results import Answered, Line, SearchResult, in_order, result_of
from service.search.shots import Miss, Query, Shot, combined, one_each, require_one_shot


@dataclass(frozen=True, slots=True)
class Step:
    """Queries that are answered together.

    Attributes:
        places: which of the search's queries.
        where: which crops may answer them, the same for all.
        considered: among how many crops each is searched for.
        groups: how many identities, and crops without one, pass; None where it was not counted.
    """

    places: tuple[int, ...]
    where: Filter
    considered: tuple[int, ...]
    groups: int | None


@dataclass(frozen=True, slots=True)
class SearchWork:
    """What is to be done for a search, and what was done so far.

    Attributes:
        opened: the gallery and its model.
        options: what is asked for.
        asked: every picture of the request.
        queries: what is searched for.
        line: where matches begin.
        ranking: how candidates are found and ordered.
        steps: every query once.
        stopwatch: measures the stages query and rerank.
    """

    opened: OpenGallery
    options: SearchOptions
    asked: Sequence[Shot | Miss]
    queries: Sequence[Query]
    line: Line
    ranking: Ranking
    steps: Sequence[Step]
    stopwatch: Stopwatch
    _answers: dict[int, SearchResult] = field(default_factory=dict)

    def do(self, step: Step) -> None:
        """Answer the queries of one step."""
        gallery, queries = self.opened.gallery, [self.queries[place] for place in step.places]
        with self.stopwatch.part("query"):
            found = find(gallery, queries, step.where, self.ranking, step.groups)
        with self.stopwatch.part("rerank") if self.ranking.rerank_top else nullcontext():
            ranked = [
                rank(gallery, query, one, self.ranking)
                for query, one in zip(queries, found, strict=True)
            ]
        for entry in zip(step.places, queries, found, ranked, step.considered, strict=True):
            place, query, one, candidates, considered = entry
            answered = Answered(query, one, candidates, considered)
            self._answers[place] = result_of(answered, self.line, self.ranking)

    def outcome(self) -> SearchOutcome:
        """The answer, once every step is done."""
        self.stopwatch.tell("query")
        if self.ranking.rerank_top:
            self.stopwatch.tell("rerank")
        answers = [self._answers[place] for place in range(len(self.queries))]
        return SearchOutcome(
            model=self.opened.model.manifest,
            min_score=self.line.min_score,
            results=in_order(self.asked, answers, combine=self.options.combine),
            warnings=_warnings(self.opened.gallery, self.queries, self.options),
        )


def work_of(
    opened: OpenGallery,
    asked: Sequence[Shot | Miss],
    options: SearchOptions,
    cost: SearchCost,
    stopwatch: Stopwatch,
) -> SearchWork:
    """Make queries of what was embedded, and see what each step has to do.

    Args:
        opened: the gallery and its model.
        asked: every picture of the request.
        options: what is asked for.
        cost: how many queries make a step.
        stopwatch: measures the stages of the work.

    Returns:
        The work, none of it done.

    Raises:
        ReidError: no picture is usable, or they cannot make a query.
    """
    line = Line.of(options.min_score, opened.model.manifest.calibration)
    shots = require_one_shot(asked)
    queries = [combined(shots)] if options.combine else one_each(shots)
    with stopwatch.part("query"):
        steps = _steps(opened.gallery, queries, options, cost)
    ranking = options.ranking(line.least)
    return SearchWork(opened, options, asked, queries, line, ranking, steps, stopwatch)


def _steps(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions, cost: SearchCost
) -> list[Step]:
    """Queries with the same filter, and among how many crops each is searched for."""
    wheres = [_where(query, options) for query in queries]
    steps: list[Step] = []
    for where in dict.fromkeys(wheres):
        places = [place for place, own in enumerate(wheres) if own == where]
        own_crops = [_own_among(gallery, queries[place], where) for place in places]
        # Last, because the gallery keeps the mask of the latest filter, which the queries need.
        passing = gallery.count(where)
        considered = {place: passing - own for place, own in zip(places, own_crops, strict=True)}
        counted = cost.grouped and not cost.is_light(passing)
        groups = _groups(gallery.crops(where)) if counted else None
        steps += [
            Step(tuple(part), where, tuple(considered[place] for place in part), groups)
            for part in cost.steps(places, passing)
        ]
    return steps


def _groups(crops: Sequence[Crop]) -> int:
    named = [crop.identity for crop in crops if crop.identity is not None]
    return len(set(named)) + len(crops) - len(named)


def _own_among(gallery: Gallery, query: Query, where: Filter) -> int:
    """How many of the crops that a query is made of pass the filter: it cannot find those."""
    own = query.crop_ids if where.crop_ids is None else query.crop_ids & where.crop_ids
    return gallery.count(replace(where, crop_ids=own)) if own else 0


def _warnings(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions
) -> list[FilterWarning]:
    """What is odd about the filter, and about the cameras whose crops are to be left out."""
    excluded = queries if options.exclude_same_camera else ()
    own = frozenset(query.camera for query in excluded if query.camera is not None)
    return warnings_of(gallery, options.where, ids_field="among", own_cameras=own)


def _where(query: Query, options: SearchOptions) -> Filter:
    """Which crops may answer a query."""
    if not options.exclude_same_camera:
        return options.where
    if query.camera is None:
        raise InvalidInput(
            "combine and exclude_same_camera together need images and crops of one camera"
        )
    return replace(options.where, own_camera=query.camera)
