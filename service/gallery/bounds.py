"""Bounds of the cosines of queries with a gallery's rows, tight only where it matters.

Where the components of the rows are known (:mod:`service.gallery.components`), they rule out most
rows, and only the others are multiplied in all dimensions. Without them every row is.

Letters: Q queries, N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.components import Components, Known
from service.gallery.products import block_products, pair_products, pairs_by_row, parts_of
from service.machine.shares import share

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

MARGIN = 1e-5
"""More than twice the rounding error of a float32 product of unit rows."""
SPARE = 64
"""Rows that are multiplied beyond those that are asked for, to rule out more of the others."""
_Pairs = tuple[Slots, Slots, Float32s]
_NO_PAIRS: _Pairs = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Bounds of the cosines of some queries.

    Attributes:
        vectors: (S, D) float32, unit rows.
        queries: (Q, D) float32, unit rows.
        known: components of the first rows; None if there are none.
        components: of the queries, with the same basis.
        rests: of the queries.
    """

    vectors: Float32s
    queries: Float32s
    known: Known | None
    components: Float32s
    rests: Float32s

    @classmethod
    def of(cls, vectors: Float32s, queries: Float32s, components: Components | None) -> Bounds:
        """Bounds for some queries, by the components that are known now."""
        known = None if components is None else components.of(vectors)
        if known is None:
            return cls(vectors, queries, None, queries[:, :0], queries[:, 0])
        return cls(vectors, queries, known, *known.asked(queries))

    def some(self, queries: slice) -> Bounds:
        """Bounds for some of the queries."""
        asked = self.queries[queries], self.known, self.components[queries], self.rests[queries]
        return Bounds(self.vectors, *asked)

    def parts(self, rows: int) -> list[slice]:
        """Divide a pass over so many rows into parts of about equal time."""
        dimensions = self.queries.shape[1]
        return parts_of(rows, 1 if self.known is None else dimensions // self.components.shape[1])

    def most(self, slots: Slots, least: float = np.inf) -> Float32s:
        """The most that the cosines of some rows may be.

        Args:
            slots: (N,) ascending.
            least: cosines that may reach it are computed.

        Returns:
            (Q, N) float32. What is at least ``least`` exceeds the cosine by at most twice
            ``MARGIN``, and so does every bound of a row whose components are not known.
        """
        if self.known is None:
            exact = block_products(self.vectors, slots, self.queries)
            return exact + np.float32(MARGIN)
        most = self.known.most(slots, self.components, self.rests)
        which, columns, tight = self._tight(most, slots, np.full(len(most), least, np.float32))
        most[which, columns] = tight
        return most

    def likely(self, slots: Slots, top_k: int) -> list[Slots]:
        """The rows that may be among the best.

        Args:
            slots: (N,) ascending slots that may be found.
            top_k: number of best rows, 1..N.

        Returns:
            For each query, ascending slots: its ``top_k`` best, and those within ``MARGIN``.
        """
        most = np.empty((len(self.queries), len(slots)), np.float32)

        def bound(part: slice) -> None:
            most[:, part] = self.most(slots[part])

        share(bound, self.parts(len(slots)))
        return self.settled(most, slots, top_k)

    def settled(self, most: Float32s, slots: Slots, top_k: int) -> list[Slots]:
        """The same as :meth:`likely`, where bounds are known.

        Args:
            most: (Q, N) float32, what :meth:`most` has returned.
            slots: (N,) ascending slots that may be found.
            top_k: number of best rows, 1..N.
        """
        if self.known is None:
            return [slots[_best(own, top_k)] for own in most]
        parts = self.parts(len(slots))
        edges = self._edges(most, slots, top_k)
        # Not written over the bounds: a helper that comes late would write those once more.
        tight = [_NO_PAIRS] * len(parts)

        def tighten(number: int) -> None:
            part = parts[number]
            which, columns, bounds = self._tight(most[:, part], slots[part], edges)
            tight[number] = which, columns + part.start, bounds

        share(tighten, range(len(parts)))
        which, columns, bounds = (np.concatenate(arrays) for arrays in zip(*tight, strict=True))
        own = [which == query for query in range(len(most))]
        return [slots[columns[one][_best(bounds[one], top_k)]] for one in own]

    def _edges(self, most: Float32s, slots: Slots, top_k: int) -> Float32s:
        """(Q,) cosines that the ``top_k`` best of each query reach, as those of some rows show."""
        some = min(top_k + SPARE, len(slots))
        picked = np.argpartition(most, -some, axis=1)[:, -some:]
        which = np.repeat(np.arange(len(most)), some)
        exact = pair_products(self.queries, which, self.vectors, slots[picked.ravel()])
        best = np.partition(exact.reshape(picked.shape), -top_k, axis=1)[:, -top_k]
        edges: Float32s = best - np.float32(MARGIN)
        return edges

    def _tight(self, most: Float32s, slots: Slots, least: Float32s) -> _Pairs:
        """Tight bounds of what may reach ``least`` (Q,), and of what has no bound at all."""
        columns, which = pairs_by_row((most >= least[:, None]) | np.isinf(most))
        exact = pair_products(self.queries, which, self.vectors, slots[columns])
        return which, columns, exact + np.float32(MARGIN)


def _best(bounds: Float32s, top_k: int) -> Slots:
    """Places of the ``top_k`` best of tight bounds, and of those that may be as good."""
    return np.flatnonzero(bounds >= np.partition(bounds, -top_k)[-top_k] - 2 * MARGIN)
