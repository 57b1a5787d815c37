"""The nearest rows of every row, exactly, from half of the products of all pairs.

Distances are symmetric, so a block of them serves its rows and its columns. Each list knows the
distance that it has reached; the few entries of a block that are below join it, and the rest is
forgotten.

Letters: N rows, D dimensions, K length of a list, R rows and C columns of a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Indices = NDArray[np.intp]

_ROWS, _COLUMNS = 1024, 8192  # of a block: 32 MiB of distances
# The first limit of a list comes from a part of a block: to select from all of it takes longer than
# to sort the entries that join in vain.
_STEP, _ENOUGH = 4, 16  # times the length of a list; at least _STEP


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of some rows.

    Attributes:
        rank: (N, K) nearest rows, starting with the row itself; ties in the order of rows.
        farthest: (N,) squared distance to the row farthest away.
    """

    rank: Indices
    farthest: Float64s


def nearest_of_all(rows: Float32s, length: int) -> Neighbours:
    """Find the nearest rows of every row.

    Args:
        rows: (N, D) float32, unit rows.
        length: K, 1..N.

    Returns:
        A list per row.
    """
    count, lists = len(rows), _Lists(len(rows), length)
    memory = np.empty(min(count, _ROWS) * min(count, _COLUMNS), np.float32)
    for start in range(0, count, _ROWS):
        own = slice(start, min(start + _ROWS, count))
        for first in range(start, count, _COLUMNS):
            others = slice(first, min(first + _COLUMNS, count))
            distance = _squared_distances(rows[own], rows[others], memory)
            lists.offer_to_rows(own, others, distance)
            beyond = slice(max(first, own.stop), others.stop)
            lists.offer_to_columns(beyond, own, distance[:, beyond.start - first :])
    return Neighbours(lists.names, lists.farthest.astype(np.float64))


def _squared_distances(left: Float32s, right: Float32s, memory: Float32s) -> Float32s:
    """(R, C) squared Euclidean distances of unit rows, written to the start of ``memory``."""
    distance = memory[: len(left) * len(right)].reshape(len(left), len(right))
    np.matmul(left, right.T, out=distance)
    distance *= -2.0
    distance += 2.0
    return distance


class _Lists:
    """The nearest rows of each row among those that were offered, nearest first.

    Rows must be offered in ascending order.

    Args:
        rows: N.
        length: K.
    """

    def __init__(self, rows: int, length: int) -> None:
        self.names = np.zeros((rows, length), np.intp)
        self.distances = np.full((rows, length), np.inf, np.float32)
        self.farthest = np.zeros(rows, np.float32)

    def offer_to_rows(self, own: slice, others: slice, distance: Float32s) -> None:
        """Offer the columns of a block to its rows.

        Args:
            own: the rows.
            others: the columns. If they begin where the rows begin, each row is among them, and
                comes first, before its duplicates.
            distance: (R, C); a row's distance to itself is set to -1.
        """
        self._note_farthest(own, distance.max(axis=1))
        if own.start == others.start:
            np.fill_diagonal(distance, -1.0)
        limits = self._limits(own, distance)
        rows, columns = np.divmod(np.flatnonzero(distance < limits[:, None]), distance.shape[1])
        self._join(own, rows, others.start + columns, distance[rows, columns])

    def offer_to_columns(self, own: slice, others: slice, distance: Float32s) -> None:
        """Offer the rows of a block, ``others``, to its columns, ``own``; none is among both."""
        if own.start >= own.stop:
            return
        self._note_farthest(own, distance.max(axis=0))
        limits = self._limits(own, distance.T)
        rows, columns = np.divmod(np.flatnonzero(distance < limits), distance.shape[1])
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
        self._join(own, columns, others.start + rows, distance[rows, columns])

    def _note_farthest(self, own: slice, distance: Float32s) -> None:
        self.farthest[own] = np.maximum(self.farthest[own], distance)

    def _limits(self, own: slice, distance: Float32s) -> Float32s:
        """(R,) distances below which a row joins the lists of ``own``."""
        limits = self.distances[own, -1]
        if np.isfinite(limits).all():
            return limits  # with a tie, the smaller row stays, which is in the list
        length = self.distances.shape[1]
        some = distance[:, ::_STEP] if distance.shape[1] >= _ENOUGH * length else distance
        last = min(length, some.shape[1]) - 1
        nearest = np.partition(some, last, axis=1)[:, last]
        least: Float32s = np.minimum(limits, np.nextafter(nearest, np.float32(np.inf)))
        return least

    def _join(self, own: slice, rows: Indices, names: Indices, distances: Float32s) -> None:
        """Let entries join lists.

        Args:
            own: the rows whose lists these are.
            rows: (M,) ascending places in ``own``.
            names: (M,) rows that join, ascending for each list.
            distances: (M,) theirs.
        """
        counts = np.bincount(rows, minlength=own.stop - own.start)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        new = np.full((len(counts), counts.max()), np.inf, np.float32)
        new_names = np.zeros(new.shape, np.intp)
        new[rows, place], new_names[rows, place] = distances, names
        both = np.concatenate([self.distances[own], new], axis=1)
        both_names = np.concatenate([self.names[own], new_names], axis=1)
        # Stable: among ties, the smaller rows were offered first.
        order = np.argsort(both, axis=1, kind="stable")[:, : self.names.shape[1]]
        self.distances[own] = np.take_along_axis(both, order, axis=1)
        self.names[own] = np.take_along_axis(both_names, order, axis=1)
