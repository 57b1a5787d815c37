"""Exact nearest rows by the cosine of standardised embeddings.

A scan (:mod:`service.gallery.standardising.scan`) finds candidates, once for every question about
a query. Rows that may be among the best are then standardised one by one and scored by
:mod:`service.gallery.scoring`, so an answer is the same to the last bit alone or in a batch, and
equal rows tie exactly.

Letters: Q queries, N rows that may be found, D dimensions, S slots.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import rows_at
from service.gallery.base import Hit, StandardisedHits
from service.gallery.bounds import MARGIN, SPARE, Bounds
from service.gallery.scoring import cosines
from service.gallery.standardising.rows import StandardisedRows
from service.gallery.standardising.scan import Scores, scan

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

_ROWS_AT_ONCE = 512


def scan_standardised(
    rows: StandardisedRows,
    mask: NDArray[np.bool_],
    queries: Float32s,
    cameras: Sequence[str | None],
    least: float = -1.0,
) -> StandardisedScan | None:
    """Score every row for some queries.

    Args:
        rows: the gallery at one moment.
        mask: (S,) bool, slots that may be found.
        queries: (Q, D) float32, unit rows, not standardised.
        cameras: the camera that took each query, None if unknown.
        least: minimum plain cosine of the hits that will be asked for; -1 allows every hit.

    Returns:
        What answers questions about these queries; None while no camera is standardised.
    """
    if not rows.standards.in_force:
        return None
    found = np.flatnonzero(mask)
    standard = np.empty_like(queries)
    for place, camera in enumerate(cameras):
        standard[place] = _standardise_query(rows, queries[place], camera)
    bounds = Bounds.of(rows.vectors, queries, rows.components)
    return _scanned(rows, found, bounds, standard, least)


def _scanned(
    rows: StandardisedRows, found: Slots, bounds: Bounds, standard: Float32s, least: float
) -> StandardisedScan:
    scores = scan(rows, found, bounds, standard, least)
    return StandardisedScan(rows, found, bounds, standard, scores, least)


def _standardise_query(rows: StandardisedRows, query: Float32s, camera: str | None) -> Float32s:
    standard = rows.standard_of(camera)
    return query if standard is None else standard.apply(query[None])[0]


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedScan:
    """Answers questions about some queries from one pass over a gallery.

    Attributes:
        rows: the gallery at one moment.
        found: (N,) slots that may be found.
        bounds: of the queries' plain cosines.
        standard: (Q, D) float32, the queries standardised.
        scores: bounds of every score.
        least: minimum plain cosine of the hits that may be asked for.
        exact: per query, the exact standardised cosines that were needed, by slot.
    """

    rows: StandardisedRows
    found: Slots
    bounds: Bounds
    standard: Float32s
    scores: Scores
    least: float
    exact: dict[int, dict[int, float]] = field(default_factory=dict)

    def best(self, query: int, top_k: int, least: float = -1.0, rows: int = 0) -> StandardisedHits:
        """The nearest crops of one query.

        Args:
            query: its place among the queries.
            top_k: most hits, >= 1.
            least: minimum plain cosine, at least that of the scan.
            rows: number of hits whose standardised embeddings are returned.

        Returns:
            The exact answer.
        """
        if self.scores.is_loose:
            few = self._scan_likely(query, top_k, least)
            return replace(few.best(0, top_k, least, rows), nearest=self.nearest(query))
        low, high = self.scores.low[query], self.scores.high[query]
        passing = self._passing(query, least)
        top_k = min(top_k, len(passing))
        slots = self.found[:0]
        if top_k:
            edge = np.partition(low[passing], -top_k)[-top_k]
            slots = self.found[passing[high[passing] >= edge]]
        best, hits = self._ranked(query, slots, top_k)
        return StandardisedHits(
            hits=tuple(hits),
            nearest=self.nearest(query),
            query=self.standard[query],
            rows=self.rows.standardised(best[:rows]),
        )

    def _scan_likely(self, query: int, top_k: int, least: float) -> StandardisedScan:
        """Scan the crops that may be among the best of one query."""
        among = np.flatnonzero(self.scores.most[query] >= least)
        high = self.scores.high[query, among]
        some = top_k + SPARE
        if len(among) > some:
            picked = np.sort(np.argpartition(high, -some)[-some:])
            scores = self._scan_some(query, among[picked]).scores
            passing = scores.low[0, scores.most[0] - 2 * MARGIN >= least]
            if len(passing) >= top_k:  # so the best are at least as good as these
                among = among[high >= np.partition(passing, -top_k)[-top_k]]
        return self._scan_some(query, among)

    def _scan_some(self, query: int, places: Slots) -> StandardisedScan:
        """Scan some crops for one query, with both products of each."""
        one = slice(query, query + 1)
        bounds = Bounds.of(self.rows.vectors, self.bounds.queries[one], None)
        return _scanned(self.rows, self.found[places], bounds, self.standard[one], -1.0)

    def crops_of(self, query: int, identities: Collection[str]) -> list[Hit]:
        """Every crop of some identities that may be found, whatever its score, best first."""
        codes = [
            self.rows.identity_codes[name]
            for name in identities
            if name in self.rows.identity_codes
        ]
        slots = self.found[np.isin(self.rows.identities[self.found], codes)]
        return self._ranked(query, slots, len(slots))[1]

    def nearest(self, query: int, but: Collection[str] = ()) -> float | None:
        """The largest plain cosine of a crop, except these; None if there is no other."""
        rank = min(len(but) + 1, len(self.found))
        if not rank:
            return None
        slots = self._nearest_slots(query, rank)
        scores = cosines(rows_at(self.rows.vectors, slots), self.bounds.queries[query])
        others = (
            score
            for score, slot in zip(scores, slots.tolist(), strict=True)
            if self.rows.crops[slot].crop_id not in but
        )
        return max(others, default=None)

    def _nearest_slots(self, query: int, rank: int) -> Slots:
        """Slots that hold the best rows by plain cosine, down to a rank."""
        most = self.scores.most[query]
        edge = np.partition(most, -rank)[-rank] if rank > 1 else most.max()
        if edge >= self.least and not self.scores.is_loose:
            close: Slots = self.found[most >= edge - 2 * MARGIN]
            return close
        # Nobody reaches the least cosine, or components bound them all.
        one = slice(query, query + 1)
        return self.bounds.some(one).settled(self.scores.most[one], self.found, rank)[0]

    def _passing(self, query: int, least: float) -> Slots:
        """Places of the rows that have an exact plain cosine of at least ``least``."""
        most = self.scores.most[query]
        if least <= -1.0:
            return np.arange(len(most))
        passing = np.flatnonzero(most >= least)
        close = np.flatnonzero(most[passing] <= least + 2 * MARGIN)
        rows = rows_at(self.rows.vectors, self.found[passing[close]])
        exact = cosines(rows, self.bounds.queries[query])
        return np.delete(passing, close[np.array(exact) < least])

    def _ranked(self, query: int, slots: Slots, top_k: int) -> tuple[Slots, list[Hit]]:
        """The best of some slots, by exact standardised cosine; ties in the order of crop ids."""
        crops = self.rows.crops
        scores = self._standardised_cosines(query, slots)
        order = _best_first(scores, [crops[slot].crop_id for slot in slots.tolist()])[:top_k]
        best = slots[order]
        plain = cosines(rows_at(self.rows.vectors, best), self.bounds.queries[query])
        return best, [
            Hit(crops[slot], plain[rank], scores[order[rank]])
            for rank, slot in enumerate(best.tolist())
        ]

    def _standardised_cosines(self, query: int, slots: Slots) -> list[float]:
        """Exact standardised cosines of some slots, each computed once, block by block."""
        exact = self.exact.setdefault(query, {})
        wanted = slots.tolist()
        new = np.array([slot for slot in wanted if slot not in exact], np.int64)
        for start in range(0, len(new), _ROWS_AT_ONCE):
            some = new[start : start + _ROWS_AT_ONCE]
            scores = cosines(self.rows.standardised(some), self.standard[query])
            exact.update(zip(some.tolist(), scores, strict=True))
        return [exact[slot] for slot in wanted]


def _best_first(scores: list[float], crop_ids: list[str]) -> list[int]:
    """Positions by descending score; ties in the order of crop ids."""
    falling = -np.array(scores)
    order = np.argsort(falling, kind="stable")
    ranked: list[int] = order.tolist()
    tied = np.flatnonzero(np.diff(falling[order]) == 0)
    if len(tied):
        for run in np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1):
            part = slice(int(run[0]), int(run[-1]) + 2)
            ranked[part] = sorted(ranked[part], key=crop_ids.__getitem__)
    return ranked
