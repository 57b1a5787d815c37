"""k-reciprocal encoding and its Jaccard distance (Zhong et al., CVPR 2017), on sparse rows.

Two variants share the encoding: training clusters by :func:`jaccard_distance`; the service and the
evaluation re-rank by :func:`rerank`. Most entries of the dense matrices are one constant (more than
95 % on Market-1501), so only the others are stored. A search re-ranks so few rows that dense arrays
are faster: :mod:`service.search.kreciprocal_of_few`.

Notation: N rows, D dimensions, k1 neighbourhood size, k2 query-expansion size, V encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from service.search.kreciprocal_of_few import FewRows, jaccard_of_few

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Indices = NDArray[np.intp]

_CHUNK_ELEMENTS = 1 << 25  # per block of dense distances: 128 MiB in float32
_FEW = 2048  # rows up to which dense arrays are faster, and small: 32 MiB in float64


@dataclass(frozen=True, slots=True)
class _Neighbours:
    rank: Indices  # (N, width): nearest rows, starting with the row itself
    farthest: Float64s  # (N,): squared distance to the row farthest away


def jaccard_distance(embeddings: Float32s, *, k1: int = 30, k2: int = 6) -> scipy.sparse.csr_array:
    """Compute the Jaccard distance of k-reciprocal encodings, in the variant used for clustering.

    As in HHCL and the methods it builds on, the list of k1 neighbours includes the row itself,
    members are weighted by ``softmax(-|x_i - x_j|^2)``, and each row is averaged over its first k2
    entries.

    Args:
        embeddings: (N, D) float32, unit rows.
        k1: length of the neighbour list including the row itself; clipped to N.
        k2: number of rows that query expansion averages, including the row itself.

    Returns:
        (N, N) float64, sparse. Distances below 1 are stored, including exact zeros; entries that
        are not stored are 1.
    """
    if len(embeddings) == 0:
        return scipy.sparse.csr_array((0, 0), dtype=np.float64)
    k1 = min(k1, len(embeddings))
    near = _nearest(embeddings, k1)
    encoding = _expand_queries(_encode(embeddings, near, k1, scale=None), near, k2)
    rows = _shared_mass(encoding, np.arange(len(embeddings)))
    indptr, indices, shared = [0], [], []
    for columns, mass in rows:
        indices.append(columns)
        shared.append(np.maximum(0.0, 1.0 - mass / (2.0 - mass)))
        indptr.append(indptr[-1] + len(columns))
    shape = (len(embeddings), len(embeddings))
    return scipy.sparse.csr_array(
        (np.concatenate(shared), np.concatenate(indices), indptr), shape=shape
    )


def rerank(
    query_embeddings: Float32s,
    gallery_embeddings: Float32s,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    power: int = 1,
) -> Float32s:
    """Re-rank a gallery for each query by k-reciprocal neighbours.

    ``(1 - lambda) * Jaccard + lambda * D``, where D is the squared Euclidean distance over queries
    and gallery together, each row divided by its maximum.

    Args:
        query_embeddings: (Q, D) float32, unit rows.
        gallery_embeddings: (N, D) float32, unit rows.
        k1: number of near neighbours, not counting the row itself; clipped to the rows available.
        k2: number of rows that query expansion averages, including the row itself.
        lambda_value: weight of the original distance, 0..1.
        power: 1 is the paper's; 2 squares the squared distance again, as the evaluation code of
            HHCL, Cluster Contrast and SpCL does.

    Returns:
        (Q, N) float32 distances, smaller is closer.
    """
    both = np.concatenate([query_embeddings, gallery_embeddings])
    jaccard_of = _jaccard_densely if len(both) <= _FEW else _jaccard_sparsely
    jaccard, scale = jaccard_of(both, len(query_embeddings), k1, k2, power)
    cosine = (query_embeddings @ gallery_embeddings.T).astype(np.float64)
    plain = np.maximum(2.0 - 2.0 * cosine, 0.0) ** power / scale[: len(query_embeddings), None]
    final: Float64s = (1.0 - lambda_value) * jaccard + lambda_value * plain
    return final.astype(np.float32)


def _jaccard_densely(
    both: Float32s, queries: int, k1: int, k2: int, power: int
) -> tuple[Float64s, Float64s]:
    """(Q, N) Jaccard distances of queries and gallery, and what plain distances are divided by."""
    squared = 2.0 - 2.0 * (both @ both.T)
    near = _nearest_of_block(squared, 0, min(k1 + 1, len(both)))
    scale = _scale(near, power)
    few = FewRows(squared, near.rank, scale, power)
    return jaccard_of_few(few, queries, k1=k1, k2=k2)[:, queries:], scale


def _jaccard_sparsely(
    both: Float32s, queries: int, k1: int, k2: int, power: int
) -> tuple[Float64s, Float64s]:
    """The same for many rows."""
    near = _nearest(both, min(k1 + 1, len(both)))
    scale = _scale(near, power)
    encoding = _expand_queries(_encode(both, near, k1, scale=scale, power=power), near, k2)
    jaccard = np.ones((queries, len(both) - queries))
    for row, (columns, mass) in enumerate(_shared_mass(encoding, np.arange(queries))):
        found = columns >= queries
        jaccard[row, columns[found] - queries] = 1.0 - mass[found] / (2.0 - mass[found])
    return jaccard, scale


def _scale(near: _Neighbours, power: int) -> Float64s:
    scale: Float64s = np.maximum(near.farthest, np.finfo(np.float64).tiny) ** power
    return scale


def _nearest(embeddings: Float32s, width: int) -> _Neighbours:
    count = len(embeddings)
    rank = np.empty((count, width), dtype=np.intp)
    farthest = np.empty(count, dtype=np.float64)
    step = max(1, _CHUNK_ELEMENTS // max(count, 1))
    for start in range(0, count, step):
        part = slice(start, min(start + step, count))
        block = _nearest_of_block(2.0 - 2.0 * (embeddings[part] @ embeddings.T), start, width)
        rank[part], farthest[part] = block.rank, block.farthest
    return _Neighbours(rank, farthest)


def _nearest_of_block(distance: Float32s, start: int, width: int) -> _Neighbours:
    """Neighbours of some consecutive rows; a row's distance to itself is set to -1."""
    farthest = distance.max(axis=1).astype(np.float64)
    own = np.arange(len(distance))
    distance[own, own + start] = -1.0  # a duplicate must not precede the row itself
    near = _smallest(distance, width)  # ascending, so the stable sort breaks ties by index
    order = np.argsort(np.take_along_axis(distance, near, axis=1), axis=1, kind="stable")
    return _Neighbours(np.take_along_axis(near, order, axis=1), farthest)


def _smallest(distance: Float32s, width: int) -> Indices:
    """The columns of each row's smallest distances, ascending.

    Selecting values and comparing with the largest of them takes half the time of selecting
    columns, but finds too many columns if several are equally far.
    """
    count, columns = distance.shape
    largest = np.partition(distance, width - 1, axis=1)[:, width - 1 : width]
    places = np.flatnonzero(distance <= largest)
    if len(places) == count * width:
        near: Indices = places.reshape(count, width) - columns * np.arange(count)[:, None]
        return near
    near = np.argpartition(distance, width - 1, axis=1)[:, :width]
    near.sort(axis=1)
    return near


def _reciprocal(rank: Indices, k: int) -> scipy.sparse.csr_array:
    """R(i, k): the first k+1 entries of i that have i among their own first k+1."""
    members = rank[:, : k + 1]
    count, width = members.shape
    indptr = np.arange(0, count * width + 1, width)
    near = scipy.sparse.csr_array(
        (np.ones(count * width, np.int32), members.ravel(), indptr), shape=(count, count)
    )
    mutual: scipy.sparse.csr_array = near.multiply(near.T).tocsr()
    return mutual


def _encode(
    embeddings: Float32s, near: _Neighbours, k1: int, *, scale: Float64s | None, power: int = 1
) -> scipy.sparse.csr_array:
    reciprocal = _reciprocal(near.rank, k1)
    half = _reciprocal(near.rank, int(np.around(k1 / 2)))
    # A member's own set is added if more than two thirds of it are already members.
    overlap = (reciprocal @ half.T).multiply(reciprocal).tocoo()
    joins = 3 * overlap.data > 2 * half.sum(axis=1)[overlap.col]
    chosen = scipy.sparse.csr_array(
        (np.ones(joins.sum(), np.int32), (overlap.row[joins], overlap.col[joins])),
        shape=reciprocal.shape,
    )
    expanded = (reciprocal + chosen @ half).tocsr()
    expanded.sort_indices()
    rows = np.repeat(np.arange(len(embeddings)), np.diff(expanded.indptr))
    weight = np.exp(-_squared_distance(embeddings, rows, expanded.indices, scale, power))
    total = np.bincount(rows, weights=weight, minlength=len(embeddings))
    return scipy.sparse.csr_array(
        (weight / total[rows], expanded.indices, expanded.indptr), expanded.shape
    )


def _squared_distance(
    embeddings: Float32s, rows: Indices, columns: Indices, scale: Float64s | None, power: int
) -> Float64s:
    distance = np.empty(len(rows), dtype=np.float64)
    step = max(1, _CHUNK_ELEMENTS // max(embeddings.shape[1], 1))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        cosine = np.einsum("nd,nd->n", embeddings[rows[part]], embeddings[columns[part]])
        distance[part] = np.maximum(2.0 - 2.0 * cosine, 0.0) ** power
    return distance if scale is None else distance / scale[rows]


def _expand_queries(
    encoding: scipy.sparse.csr_array, near: _Neighbours, k2: int
) -> scipy.sparse.csr_array:
    members = near.rank[:, :k2]
    count, width = members.shape
    indptr = np.arange(0, count * width + 1, width)
    mean = scipy.sparse.csr_array(
        (np.full(count * width, 1.0 / width), members.ravel(), indptr), shape=(count, count)
    )
    expanded: scipy.sparse.csr_array = (mean @ encoding).tocsr()
    return expanded


def _shared_mass(encoding: scipy.sparse.csr_array, rows: Indices) -> list[tuple[Indices, Float64s]]:
    """For each row i: the columns j with sum_t min(V_i[t], V_j[t]) > 0, and that sum."""
    by_column = encoding.tocsc()
    result: list[tuple[Indices, Float64s]] = []
    for row in rows:
        own = slice(encoding.indptr[row], encoding.indptr[row + 1])
        starts = by_column.indptr[encoding.indices[own]]
        lengths = by_column.indptr[encoding.indices[own] + 1] - starts
        ends = np.cumsum(lengths)
        positions = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        least = np.minimum(np.repeat(encoding.data[own], lengths), by_column.data[positions])
        mass = np.bincount(by_column.indices[positions], weights=least).astype(np.float64)
        columns = np.flatnonzero(mass).astype(np.intp)
        result.append((columns, mass[columns]))
    return result
