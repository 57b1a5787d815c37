"""Split the queries of a search into batches that are answered together.

Between two batches a search may stop, or let other clients go first. The answer to a query does not
depend on which other queries share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.errors import InvalidInput
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.search.cost import SearchCost
from service.search.options import SearchOptions
from service.search.ranking import group_key
from service.search.shots import Query
from service.values.vocabulary import GroupBy


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """Queries that are answered together.

    Attributes:
        places: positions of the queries in the search.
        queries: the queries at these places.
        where: which crops may answer them, the same for all.
        considered: how many crops each is compared with.
        groups: how many groups pass the filter: identities or tracks, and crops without one; None
            if they were not counted.
    """

    places: tuple[int, ...]
    queries: tuple[Query, ...]
    where: Filter
    considered: tuple[int, ...]
    groups: int | None


def batches_of(
    gallery: Gallery, queries: Sequence[Query], options: SearchOptions, cost: SearchCost
) -> list[QueryBatch]:
    """Split queries into batches with one filter each, of about a tenth of a second.

    Args:
        gallery: the gallery to search.
        queries: every query of the search.
        options: what is asked for.
        cost: estimates how many queries fit into a batch.

    Returns:
        Every query once.

    Raises:
        InvalidInput: the images of a combined query come from different cameras, and its own
            camera is to be left out.
    """
    wheres = [_where(query, options) for query in queries]
    batches: list[QueryBatch] = []
    for where in dict.fromkeys(wheres):
        places = [place for place, own in enumerate(wheres) if own == where]
        own_crops = [_own_among(gallery, queries[place], where) for place in places]
        # Counted last: the gallery caches the mask of the latest filter, which the queries need.
        passing = gallery.count(where)
        considered = {place: passing - own for place, own in zip(places, own_crops, strict=True)}
        counted = cost.grouped and not cost.is_light(passing)
        groups = _groups(gallery.crops(where), options.group_by) if counted else None
        batches += [
            QueryBatch(
                places=tuple(part),
                queries=tuple(queries[place] for place in part),
                where=where,
                considered=tuple(considered[place] for place in part),
                groups=groups,
            )
            for part in cost.batches(places, passing)
        ]
    return batches


def _where(query: Query, options: SearchOptions) -> Filter:
    """Which crops may answer a query."""
    if not options.exclude_same_camera:
        return options.where
    if query.camera is None:
        raise InvalidInput(
            "combine and exclude_same_camera together need images and crops of one camera"
        )
    return replace(options.where, own_camera=query.camera)


def _own_among(gallery: Gallery, query: Query, where: Filter) -> int:
    """How many of the query's own crops pass the filter; a query never finds those."""
    own = query.crop_ids if where.crop_ids is None else query.crop_ids & where.crop_ids
    return gallery.count(replace(where, crop_ids=own)) if own else 0


def _groups(crops: Sequence[Crop], by: GroupBy) -> int:
    return len({group_key(crop, by) for crop in crops})
