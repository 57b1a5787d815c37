"""What a gallery answers about the queries of one batch, by standardised or by plain embeddings.

With standardised embeddings the gallery is scanned once, and every question is answered from that
scan: deeper looks, the crops to re-rank, all crops of an identity.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import Unsupported
from service.gallery.base import Filter, Hit, StandardisedHits
from service.gallery.protocol import Gallery, Scan
from service.search.options import SearchOptions
from service.search.ranking import Found
from service.search.shots import Query

_ALL = 1 << 30  # as many hits as there are


class Answers(Protocol):
    """Answers about some queries, each named by its place among them."""

    def nearest(self, places: Sequence[int], depth: int) -> list[Found]:
        """The nearest crops of some queries, at most ``depth`` each."""
        ...

    def crops_of(self, place: int, identities: Collection[str]) -> list[Hit]:
        """Every crop of these identities that passes the filter, near or far."""
        ...

    def nearest_but(self, place: int, crop_ids: Collection[str]) -> float | None:
        """The best cosine of a crop that is not among these."""
        ...

    def head(self, place: int, count: int) -> StandardisedHits | None:
        """The first crops, whatever their score, with standardised embeddings; None if plain."""
        ...


def answers_of(
    gallery: Gallery, queries: Sequence[Query], where: Filter, options: SearchOptions
) -> Answers:
    """Ask a gallery about some queries.

    Args:
        gallery: the gallery to search.
        queries: Q queries.
        where: which crops may answer them.
        options: whether to standardise, and what will be asked for.

    Returns:
        What answers questions about them.

    Raises:
        Unsupported: standardising was asked for, but the gallery cannot do it.
    """
    rows = np.stack([query.embedding for query in queries])
    if options.standardise is not False:
        # Crops to re-rank need not reach the threshold.
        least = -1.0 if options.rerank_top else max(options.least, -1.0)
        try:
            cameras = [query.camera for query in queries]
            scan = gallery.scan_standardised(rows, cameras, where, least)
        except Unsupported:
            if options.standardise:
                raise
        else:
            if scan is not None:
                return _ByStandardised(scan, max(options.least, -1.0))
    return _ByPlain(gallery, rows, where)


@dataclass(frozen=True, slots=True)
class _ByStandardised:
    """Answers by standardised embeddings; the nearest crops are those that reach ``least``."""

    scan: Scan
    least: float

    def nearest(self, places: Sequence[int], depth: int) -> list[Found]:
        answers = [self.scan.best(place, depth, self.least) for place in places]
        return [Found(answer.hits, answer.nearest) for answer in answers]

    def crops_of(self, place: int, identities: Collection[str]) -> list[Hit]:
        return self.scan.crops_of(place, identities)

    def nearest_but(self, place: int, crop_ids: Collection[str]) -> float | None:
        return self.scan.nearest(place, but=crop_ids)

    def head(self, place: int, count: int) -> StandardisedHits | None:
        return self.scan.best(place, count, rows=count)


@dataclass(frozen=True, slots=True)
class _ByPlain:
    """Answers by plain embeddings: each question is a query of its own."""

    gallery: Gallery
    queries: NDArray[np.float32]
    where: Filter

    def nearest(self, places: Sequence[int], depth: int) -> list[Found]:
        answers = self.gallery.query(self.queries[list(places)], depth, self.where)
        return [Found(tuple(hits), hits[0].score if hits else None) for hits in answers]

    def crops_of(self, place: int, identities: Collection[str]) -> list[Hit]:
        theirs = replace(self.where, identities=frozenset(identities))
        return self.gallery.query(self.queries[place : place + 1], _ALL, theirs)[0]

    def nearest_but(self, place: int, crop_ids: Collection[str]) -> float | None:
        query = self.queries[place : place + 1]
        (hits,) = self.gallery.query(query, len(crop_ids) + 1, self.where)
        return next((hit.score for hit in hits if hit.crop.crop_id not in crop_ids), None)

    def head(self, place: int, count: int) -> None:  # noqa: ARG002 - plain hits are re-ranked
        return None
