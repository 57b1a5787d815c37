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

from service.gallery.bounds import MARGIN, Bounds
from service.gallery.components import Known
from service.gallery.products import block_products, is_few, pair_products, pairs_by_row, parts_of
from service.gallery.standardising.rows import StandardisedRows
from service.machine.shares import share

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

_EPSILON = 1e-7  # rounding error of a float32
_NO_LENGTH = 1e-12
_SHORT = 4  # rounding error of a product of components, beside that of whole rows
_NUMBERS_AT_ONCE = 1 << 23  # weights of queries, all groups together: 32 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of queries with rows.

    Attributes:
        most: (Q, N) float32, the plain cosine is at most this. Unless scores are loose, it is at
            most twice ``MARGIN`` too much where it reaches the least plain cosine.
        low: (Q, N) float32, the standardised cosine is at least this; -inf if it was not computed,
            which is so below the least plain cosine, and where components bound the score.
        high: (Q, N) float32, and at most this.
        is_loose: whether components bound every score, and none was computed.
    """

    most: Float32s
    low: Float32s
    high: Float32s
    is_loose: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """Standardised queries, as the queries that unstandardised rows of each group need."""

    weights: Float32s  # (Q, G, D)
    offset: Float32s  # (Q, G), to subtract from the product
    slack: Float32s  # (Q, G), bound of the score's error, multiplied by the row's length


def scan(
    rows: StandardisedRows, found: Slots, bounds: Bounds, standard: Float32s, least: float
) -> Scores:
    """Score rows for queries.

    For few queries, known components bound every score, and none is computed.

    Args:
        rows: the gallery at one moment, with at least one standardised camera.
        found: (N,) ascending slots that may be found.
        bounds: of the queries' plain cosines.
        standard: (Q, D) float32, the queries standardised.
        least: rows with a smaller plain cosine need no standardised one.

    Returns:
        Every score.
    """
    shape = (len(standard), len(found))
    scores = Scores(
        np.empty(shape, np.float32),
        np.full(shape, -np.inf, np.float32),
        np.full(shape, -np.inf, np.float32),
        # Many queries share the reading of whole rows, and each would read other ones.
        is_loose=bounds.known is not None and is_few(standard),
    )
    step = max(1, _NUMBERS_AT_ONCE // (len(rows.standards.groups) * standard.shape[1]))
    for start in range(0, len(standard), step):
        some = slice(start, start + step)
        part_of = Scores(scores.most[some], scores.low[some], scores.high[some], scores.is_loose)
        _Pass(rows, found, bounds.some(some), standard[some], least, part_of).run()
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One pass over the rows, for a few dozen queries."""

    rows: StandardisedRows
    found: Slots
    bounds: Bounds
    standard: Float32s
    least: float
    scores: Scores

    @property
    def queries(self) -> Float32s:
        return self.bounds.queries

    def run(self) -> None:
        weights = _weights(self.rows, self.standard)
        parts = self.bounds.parts(len(self.found))
        if self.scores.is_loose:
            short = _Short.of(weights, self.bounds.known)
            share(lambda part: self._bound_some(part, weights, short), parts)
        elif self.least > -1.0:
            share(lambda part: self._score_some(part, weights), parts)
        else:
            share(lambda part: self._score_all(part, weights), parts_of(len(self.found)))

    def _bound_some(self, part: slice, weights: _Weights, short: _Short) -> None:
        """Bound scores by components, which read a tenth of each row that may reach ``least``."""
        most = self.bounds.most(self.found[part])
        self.scores.most[:, part] = most
        places = part.start + np.flatnonzero((most >= self.least).any(axis=0))
        slots = self.found[places]
        some = short.known.first(slots)
        places, beyond = np.split(places, [len(some)])
        self.scores.high[:, beyond] = np.inf  # the components of these rows are not known
        group_of = self._group_of(some)
        lengths = self._lengths(some, group_of)
        rests = short.known.rests[some]
        for query, own in enumerate(self.scores.high):
            product = pair_products(short.weights[query], group_of, short.known.rows, some)
            product -= weights.offset[query, group_of]
            product += short.rests[query, group_of] * rests
            product += _SHORT * weights.slack[query, group_of]
            own[places] = product / lengths

    def _score_some(self, part: slice, weights: _Weights) -> None:
        """Score some rows: plainly, then those standardised that reach the least cosine."""
        slots = self.found[part]
        most = self.bounds.most(slots, self.least)
        self.scores.most[:, part] = most
        columns, queries = pairs_by_row(most >= self.least)
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
        np.add(plain, MARGIN, out=self.scores.most[:, part])
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


@dataclass(frozen=True, slots=True, eq=False)
class _Short:
    """The components of standardised queries."""

    known: Known
    weights: Float32s  # (Q, G, P)
    rests: Float32s  # (Q, G)

    @classmethod
    def of(cls, weights: _Weights, known: Known | None) -> _Short:
        assert known is not None
        queries, groups, dimension = weights.weights.shape
        components, rests = known.asked(weights.weights.reshape(-1, dimension))
        return cls(known, components.reshape(queries, groups, -1), rests.reshape(queries, groups))


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
