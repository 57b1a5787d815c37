"""One pass over a gallery: the scores of every row that may be found, within bounds.

For a standardised query q and a row x of camera c, ``cos = (x·w - w·mean_c) / length(x)`` with
``w = q / deviation_c``, which takes one extra query per camera and one number per row; standardised
rows are never stored. Plain cosines come first, because the threshold ``least`` applies to those:
only rows that may reach it need the second product. Both read a part of the rows while it is in the
cache, and parts are shared with idle processors (:mod:`service.machine.shares`).

Letters: Q queries, N rows that may be found, D dimensions, G groups of rows with the same
statistics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.products import block_products, is_few, pair_products, parts_of
from service.gallery.standardising.rows import StandardisedRows
from service.machine.shares import share

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

MARGIN = 1e-5
"""More than twice the rounding error of a float32 product of unit rows."""
_EPSILON = 1e-7  # rounding error of a float32
_NO_LENGTH = 1e-12
_NUMBERS_AT_ONCE = 1 << 23  # weights of queries, all groups together: 32 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of queries with rows.

    Attributes:
        plain: (Q, N) float32 cosines, within ``MARGIN``.
        low: (Q, N) float32, the standardised cosine is at least this; -inf if not computed, which
            is so only below the least plain cosine.
        high: (Q, N) float32, and at most this.
    """

    plain: Float32s
    low: Float32s
    high: Float32s


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Standardised queries, as the queries that unstandardised rows of each group need."""

    weights: Float32s  # (Q, G, D)
    offset: Float32s  # (Q, G), to subtract from the product
    slack: Float32s  # (Q, G), bound of the score's error, multiplied by the row's length


def scan(
    rows: StandardisedRows, found: Slots, queries: Float32s, standard: Float32s, least: float
) -> Scores:
    """Score rows for queries.

    Args:
        rows: the gallery at one moment, with at least one standardised camera.
        found: (N,) ascending slots that may be found.
        queries: (Q, D) float32, unit rows, not standardised.
        standard: (Q, D) float32, the same standardised.
        least: rows with a smaller plain cosine need no standardised one.

    Returns:
        Every score.
    """
    shape = (len(queries), len(found))
    scores = Scores(
        np.empty(shape, np.float32),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, -np.inf, np.float32),
    )
    step = max(1, _NUMBERS_AT_ONCE // (len(rows.standards.groups) * queries.shape[1]))
    for start in range(0, len(queries), step):
        some = slice(start, start + step)
        part_of = Scores(scores.plain[some], scores.low[some], scores.high[some])
        _Pass(rows, found, queries[some], standard[some], least, part_of).run()
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One pass over the rows, for a few dozen queries."""

    rows: StandardisedRows
    found: Slots
    queries: Float32s
    standard: Float32s
    least: float
    scores: Scores

    def run(self) -> None:
        weights = _weights(self.rows, self.standard)
        score = self._score_all if self.least <= -1.0 else self._score_some
        share(lambda part: score(part, weights), parts_of(len(self.found)))

    def _score_some(self, part: slice, weights: _Weights) -> None:
        """Score some rows: plainly, then those standardised that reach the least cosine."""
        slots = self.found[part]
        plain = block_products(self.rows.vectors, slots, self.queries)
        self.scores.plain[:, part] = plain
        floor = self.least - MARGIN
        # Row by row, so that a row is read once for all queries.
        columns, queries = np.divmod(np.flatnonzero(floor <= plain.T), len(plain))
        if not len(columns):
            return
        slots, places = slots[columns], columns + part.start
        group_of = self._group_of(slots)
        left = weights.weights.reshape(-1, self.queries.shape[1])
        which = queries * weights.offset.shape[1] + group_of
        product = pair_products(left, which, self.rows.vectors, slots)
        lengths = self._lengths(slots, group_of)
        score = (product - weights.offset.ravel()[which]) / lengths
        margin = weights.slack.ravel()[which] / lengths
        self.scores.low[queries, places] = score - margin
        self.scores.high[queries, places] = score + margin

    def _score_all(self, part: slice, weights: _Weights) -> None:
        """Score some rows plainly and standardised."""
        slots = self.found[part]
        group_of = self._group_of(slots)
        lengths = self._lengths(slots, group_of)
        if is_few(self.queries):
            both = self._by_pair(slots, group_of, weights)
        else:
            both = self._by_group(slots, group_of, weights)
        plain, product = both
        product -= weights.offset[:, group_of]
        product /= lengths
        margin = weights.slack[:, group_of] / lengths
        self.scores.plain[:, part] = plain
        np.subtract(product, margin, out=self.scores.low[:, part])
        np.add(product, margin, out=self.scores.high[:, part])

    def _group_of(self, slots: Slots) -> Slots:
        return self.rows.standards.group_of(self.rows.cameras[slots])

    def _lengths(self, slots: Slots, group_of: Slots) -> Float32s:
        rows = self.rows
        lengths = rows.lengths.of(rows.vectors, slots, group_of, rows.standards.groups)
        return np.maximum(lengths, _NO_LENGTH)

    def _by_pair(
        self, slots: Slots, group_of: Slots, weights: _Weights
    ) -> tuple[Float32s, Float32s]:
        """(Q, N) products with the queries, and with the weights of each row's group.

        A row's products follow each other, so the row is read from memory once.
        """
        queries, groups = weights.offset.shape
        left = np.concatenate([self.queries, weights.weights.reshape(queries * groups, -1)])
        which = np.empty((len(slots), queries, 2), np.int64)
        which[:, :, 0] = np.arange(queries)
        which[:, :, 1] = queries + groups * np.arange(queries) + group_of[:, None]
        products = pair_products(
            left, which.ravel(), self.rows.vectors, np.repeat(slots, 2 * queries)
        )
        plain, weighted = products.reshape(which.shape).transpose(2, 1, 0)
        return plain, np.ascontiguousarray(weighted)

    def _by_group(
        self, slots: Slots, group_of: Slots, weights: _Weights
    ) -> tuple[Float32s, Float32s]:
        """The same for many queries: one matrix product per group."""
        queries = len(self.queries)
        products = np.empty((2 * queries, len(slots)), np.float32)
        for group in np.unique(group_of).tolist():
            own = np.flatnonzero(group_of == group)
            both = np.concatenate([self.queries, weights.weights[:, group]])
            products[:, own] = block_products(self.rows.vectors, slots[own], both)
        return products[:queries], products[queries:]


def _weights(rows: StandardisedRows, standard: Float32s) -> _Weights:
    groups = rows.standards.groups
    shape = (len(standard), len(groups))
    weights = np.empty((*shape, standard.shape[1]), np.float32)
    offset, slack = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for place, group in enumerate(groups):
        exact = standard / group.deviation  # (Q, D) float64
        weights[:, place] = exact
        offset[:, place] = (exact * group.mean).sum(axis=1)
        rounding = _EPSILON * np.linalg.norm(group.mean / group.deviation)
        slack[:, place] = MARGIN * np.linalg.norm(exact, axis=1) + rounding
    return _Weights(weights, offset, slack)
