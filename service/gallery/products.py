"""Scalar products of queries with a gallery's rows, each on one thread.

Letters: Q queries, N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import read_ahead, rows_at

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

PART = 2048
"""Rows per part of a scan: about half a millisecond for one query."""
_FEW = 4
_CLOSE = 2 / 3  # from this share of adjacent slots on, multiplying all is cheaper than copying some


def is_few(queries: Float32s) -> bool:
    """Whether products of single rows are faster than a matrix product."""
    return len(queries) <= _FEW


def parts_of(rows: int, times: int = 1) -> list[slice]:
    """Divide a scan of so many rows into parts, ``times`` as large for rows as much shorter."""
    size = times * PART
    return [slice(start, start + size) for start in range(0, rows, size)]


def block_products(vectors: Float32s, slots: Slots, queries: Float32s) -> Float32s:
    """Multiply queries with some rows.

    Args:
        vectors: (S, D) float32, contiguous.
        slots: (N,) ascending.
        queries: (Q, D) float32.

    Returns:
        (Q, N) float32, in any order of summation.
    """
    if is_few(queries):
        none = np.zeros(len(slots), np.int64)
        products = [pair_products(query[None], none, vectors, slots) for query in queries]
        return np.stack(products) if products else np.empty((0, len(slots)), np.float32)
    if not len(slots):
        return np.empty((len(queries), 0), np.float32)
    first, last = int(slots[0]), int(slots[-1])
    if len(slots) < _CLOSE * (last - first + 1):
        few: Float32s = queries @ rows_at(vectors, slots).T
        return few
    every: Float32s = queries @ vectors[first : last + 1].T
    return every if every.shape[1] == len(slots) else every[:, slots - first]


def pairs_by_row(wanted: NDArray[np.bool_]) -> tuple[Slots, Slots]:
    """List pairs of a row and a query, row by row, so that a row is read once for all queries.

    Args:
        wanted: (Q, N) bool.

    Returns:
        Place of the row and place of the query of each wanted pair.
    """
    rows, queries = np.divmod(np.flatnonzero(wanted.T), len(wanted))
    return rows, queries


def pair_products(left: Float32s, which: Slots, vectors: Float32s, slots: Slots) -> Float32s:
    """Multiply pairs of rows, without copying any.

    Args:
        left: (M, D) float32.
        which: (N,) row of ``left`` of each pair.
        vectors: (S, D) float32, contiguous.
        slots: (N,) row of ``vectors`` of each pair.

    Returns:
        (N,) float32, in any order of summation.
    """
    products = np.empty(len(slots), np.float32)
    if len(slots):
        left, which = np.ascontiguousarray(left), np.ascontiguousarray(which)
        slots = np.ascontiguousarray(slots)
        read_ahead(vectors, slots)
        faiss.pairwise_indexed_inner_product(  # type: ignore[attr-defined] # not in its stubs
            vectors.shape[1],
            len(slots),
            faiss.swig_ptr(left),
            faiss.swig_ptr(which),
            faiss.swig_ptr(vectors),
            faiss.swig_ptr(slots),
            faiss.swig_ptr(products),
        )
    return products
