"""The k-reciprocal Jaccard distance of few rows, on dense arrays and sets of bits.

A search re-ranks at most a thousand crops. For so few rows, building sparse matrices takes longer
than the arithmetic, so :func:`service.search.kreciprocal.rerank` computes the same numbers here:
a set of rows is one row of bits, the sizes of intersections are bit counts, and only the columns
that a query's encoding uses are compared.

Notation as in :mod:`service.search.kreciprocal`: N rows, V encoding; P pairs of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Indices = NDArray[np.intp]
_Bits = NDArray[np.uint64]

_WORD = 64


@dataclass(frozen=True, slots=True, eq=False)
class FewRows:
    """Some rows and their distances.

    Attributes:
        squared: (N, N) float32 squared distances; negative ones count as 0.
        rank: (N, at least k1 + 1 or N) nearest rows, starting with the row itself.
        scale: (N,) float64, what distances of each row are divided by.
        power: exponent of the squared distances.
    """

    squared: Float32s
    rank: Indices
    scale: Float64s
    power: int

    def scaled(self, places: Indices, rows: Indices) -> Float64s:
        """(P,) float64 distances at flat places of the matrix, which are in these rows."""
        squared = np.maximum(self.squared.ravel()[places], 0.0)
        scaled: Float64s = squared**self.power / self.scale[rows]
        return scaled


def jaccard_of_few(few: FewRows, queries: int, *, k1: int, k2: int) -> Float64s:
    """Compute the Jaccard distances of the first rows to all rows.

    Args:
        few: the rows.
        queries: Q, number of rows whose distances are wanted.
        k1: number of near neighbours, not counting the row itself.
        k2: number of rows that query expansion averages, including the row itself.

    Returns:
        (Q, N) float64; 1 where nothing is shared.
    """
    encoding = _encode(few, k1)
    members = few.rank[:, :k2]
    jaccard = np.ones((queries, len(members)))
    for query in range(queries):
        used = np.flatnonzero(encoding[members[query]].any(axis=0))
        own, every = _mean_of_members(np.take(encoding, used, axis=1), members, query)
        shared = np.minimum(every, own).sum(axis=1)
        jaccard[query] = 1.0 - shared / (2.0 - shared)
    return jaccard


def _mean_of_members(encoding: Float64s, members: Indices, query: int) -> tuple[Float64s, Float64s]:
    """The expanded encoding of one row, and of all rows."""
    encoding = encoding / members.shape[1]
    every = np.zeros_like(encoding)
    for nearest in members.T:
        every += encoding[nearest]
    return every[query], every


def _encode(few: FewRows, k1: int) -> Float64s:
    """(N, N) float64 V before query expansion."""
    places = np.flatnonzero(_expanded(few.rank, k1))  # faster than finding rows and columns
    rows = places // len(few.rank)
    weight = np.exp(-few.scaled(places, rows))
    total = np.bincount(rows, weights=weight, minlength=len(few.rank))
    encoding = np.zeros(few.squared.shape)
    encoding.ravel()[places] = weight / total[rows]
    return encoding


def _expanded(rank: Indices, k1: int) -> NDArray[np.bool_]:
    """(N, N) bool R*: the reciprocal neighbours, and the sets of those that mostly share them."""
    mutual, half = _reciprocal(rank, k1), _reciprocal(rank, int(np.around(k1 / 2)))
    rows, members = np.divmod(np.flatnonzero(mutual), len(rank))
    theirs = _packed(half)
    shared = _packed(mutual)[:, rows] & theirs[:, members]
    overlap = np.bitwise_count(shared).sum(axis=0, dtype=np.uint16)
    # A member's own set is added if more than two thirds of it are already members.
    joins = 3 * overlap > 2 * half.sum(axis=1)[members]
    rows, members = rows[joins], members[joins]  # every row joins itself, so none is left out
    first = np.searchsorted(rows, np.arange(len(rank)))
    added = np.bitwise_or.reduceat(theirs[:, members], first, axis=1)
    expanded: NDArray[np.bool_] = mutual | _unpacked(added, len(rank))
    return expanded


def _reciprocal(rank: Indices, k: int) -> NDArray[np.bool_]:
    """(N, N) bool R(i, k): the first k+1 entries of i that have i among their own first k+1."""
    near = np.zeros((len(rank), len(rank)), np.bool_)
    near[np.arange(len(rank))[:, None], rank[:, : k + 1]] = True
    mutual: NDArray[np.bool_] = near & near.T
    return mutual


def _packed(sets: NDArray[np.bool_]) -> _Bits:
    """(W, N): the columns of each of N rows, one bit each, in W words."""
    padded = np.zeros((len(sets), -(-sets.shape[1] // _WORD) * _WORD), np.bool_)
    padded[:, : sets.shape[1]] = sets
    return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)


def _unpacked(words: _Bits, columns: int) -> NDArray[np.bool_]:
    bits = np.ascontiguousarray(words.T).view(np.uint8)
    return np.unpackbits(bits, axis=1, count=columns).view(np.bool_)
