"""k-reciprocal encoding and its Jaccard distance (Zhong et al., CVPR 2017), on sparse rows.

Two variants share the encoding: training clusters by :func:`jaccard_distance`; the service and the
evaluation re-rank by :func:`rerank`. Most entries of the dense matrices are one constant (more than
95 % on Market-1501), so only the others are stored. A search re-ranks so few rows that dense arrays
are faster: :mod:`service.search.kreciprocal_of_few`.

Notation: N rows, D dimensions, k1 neighbourhood size, k2 query-expansion size, V encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import scipy
from numpy.typing import NDArray

from service.search.kreciprocal_of_few import FewRows, jaccard_of_few
from service.search.neighbours import Neighbours, nearest_of_all

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Indices = NDArray[np.intp]

_CHUNK_ELEMENTS = 1 << 17  # of pairs whose distances are computed: 512 KiB, to stay in the cache
_QUERIES_AT_ONCE = 64
_FEW = 2048  # rows up to which dense arrays are faster, and small: 32 MiB in float64


def jaccard_distance(
    embeddings: Float32s, *, k1: int = 30, k2: int = 6, within: float = 1.0
) -> scipy.sparse.csr_array:
    """Compute the Jaccard distance of k-reciprocal encodings, in the variant used for clustering.

    As in HHCL and the methods it builds on, the list of k1 neighbours includes the row itself,
    members are weighted by ``softmax(-|x_i - x_j|^2)``, and each row is averaged over its first k2
    entries.

    Args:
        embeddings: (N, D) float32, unit rows.
        k1: length of the neighbour list including the row itself; clipped to N.
        k2: number of rows that query expansion averages, including the row itself.
        within: largest distance that is of interest, 0..1; most are larger than any that DBSCAN
            asks for.

    Returns:
        (N, N) float64, sparse and symmetric. Distances below 1 up to ``within`` are stored,
        including exact zeros; entries that are not stored are larger.
    """
    rank = nearest_of_all(embeddings, min(k1, len(embeddings))).rank
    return jaccard_of_neighbours(embeddings, rank, k2=k2, within=within)


def jaccard_of_neighbours(
    embeddings: Float32s, rank: Indices, *, k2: int = 6, within: float = 1.0
) -> scipy.sparse.csr_array:
    """Compute the same where the neighbours are known, exactly or nearly.

    Args:
        embeddings: (N, D) float32, unit rows.
        rank: (N, k1) the row itself and its nearest.
        k2: as for :func:`jaccard_distance`.
        within: likewise.

    Returns:
        As :func:`jaccard_distance`.
    """
    if len(embeddings) == 0:
        return scipy.sparse.csr_array((0, 0), dtype=np.float64)
    encoding = _encode(embeddings, rank, rank.shape[1], scale=None)
    return _symmetric(len(rank), *_pairs_within(_expand_queries(encoding, rank, k2), within))


def _pairs_within(
    encoding: scipy.sparse.csr_array, within: float
) -> tuple[Indices, Indices, Float64s]:
    """Rows i, columns j >= i, and Jaccard distances of the pairs that are near."""
    counts, columns, distances = [], [], []
    count = encoding.shape[0]
    for others, mass in _shared_mass(encoding, np.arange(count), _own_places(encoding)):
        distance = np.maximum(0.0, 1.0 - mass / (2.0 - mass))
        near = distance <= within
        counts.append(np.count_nonzero(near))
        columns.append(others[near])
        distances.append(distance[near])
    rows = np.repeat(np.arange(count), counts)
    return rows, np.concatenate(columns), np.concatenate(distances)


def _symmetric(
    count: int, rows: Indices, columns: Indices, values: Float64s
) -> scipy.sparse.csr_array:
    """A symmetric matrix from the entries of its upper half; zeros are stored."""
    above = rows < columns
    places = np.concatenate([rows, columns[above]]), np.concatenate([columns, rows[above]])
    both = np.concatenate([values, values[above]])
    return scipy.sparse.coo_array((both, places), shape=(count, count)).tocsr()


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
    blocks, scale = jaccard_of(both, len(query_embeddings), k1, k2, power)
    final = np.empty((len(query_embeddings), len(gallery_embeddings)), np.float32)
    start = 0
    for jaccard in blocks:
        part = slice(start, start + len(jaccard))
        cosine = (query_embeddings[part] @ gallery_embeddings.T).astype(np.float64)
        plain = np.maximum(2.0 - 2.0 * cosine, 0.0) ** power / scale[part, None]
        final[part] = (1.0 - lambda_value) * jaccard + lambda_value * plain
        start = part.stop
    return final


def _jaccard_densely(
    both: Float32s, queries: int, k1: int, k2: int, power: int
) -> tuple[Iterable[Float64s], Float64s]:
    """Jaccard distances of queries and gallery, (Q, N) in blocks, and what divides plain ones."""
    squared = 2.0 - 2.0 * (both @ both.T)
    near = _nearest_of(squared, min(k1 + 1, len(both)))
    scale = _scale(near, power)
    few = FewRows(squared, near.rank, scale, power)
    return [jaccard_of_few(few, queries, k1=k1, k2=k2)[:, queries:]], scale


def _jaccard_sparsely(
    both: Float32s, queries: int, k1: int, k2: int, power: int
) -> tuple[Iterable[Float64s], Float64s]:
    """The same for many rows."""
    near = nearest_of_all(both, min(k1 + 1, len(both)))
    scale = _scale(near, power)
    encoding = _encode(both, near.rank, k1, scale=scale, power=power)
    encoding = _expand_queries(encoding, near.rank, k2)
    return _jaccard_blocks(encoding, queries), scale


def _jaccard_blocks(encoding: scipy.sparse.csr_array, queries: int) -> Iterator[Float64s]:
    """Jaccard distances of the first rows and all later ones, some rows at a time."""
    later = _places_from(encoding, queries)
    shared = _shared_mass(encoding, np.arange(queries), later)
    for start in range(0, queries, _QUERIES_AT_ONCE):
        rows = min(_QUERIES_AT_ONCE, queries - start)
        jaccard = np.ones((rows, encoding.shape[0] - queries))
        for own, (columns, mass) in zip(jaccard, shared, strict=False):  # the next block goes on
            own[columns - queries] = 1.0 - mass / (2.0 - mass)
        yield jaccard


def _scale(near: Neighbours, power: int) -> Float64s:
    scale: Float64s = np.maximum(near.farthest, np.finfo(np.float64).tiny) ** power
    return scale


def _nearest_of(distance: Float32s, width: int) -> Neighbours:
    """Neighbours where all distances are known; a row's distance to itself is set to -1.

    For so few rows it takes four fifths of the time that the lists of ``nearest_of_all`` take.
    """
    farthest = distance.max(axis=1).astype(np.float64)
    np.fill_diagonal(distance, -1.0)  # a duplicate must not precede the row itself
    near = _smallest(distance, width)  # ascending, so the stable sort breaks ties by index
    order = np.argsort(np.take_along_axis(distance, near, axis=1), axis=1, kind="stable")
    return Neighbours(np.take_along_axis(near, order, axis=1), farthest)


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
    embeddings: Float32s, rank: Indices, k1: int, *, scale: Float64s | None, power: int = 1
) -> scipy.sparse.csr_array:
    reciprocal = _reciprocal(rank, k1)
    half = _reciprocal(rank, int(np.around(k1 / 2)))
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
    encoding: scipy.sparse.csr_array, rank: Indices, k2: int
) -> scipy.sparse.csr_array:
    members = rank[:, :k2]
    count, width = members.shape
    indptr = np.arange(0, count * width + 1, width)
    mean = scipy.sparse.csr_array(
        (np.full(count * width, 1.0 / width), members.ravel(), indptr), shape=(count, count)
    )
    expanded: scipy.sparse.csr_array = (mean @ encoding).tocsr()
    return expanded


def _shared_mass(
    encoding: scipy.sparse.csr_array, rows: Indices, starts: Indices
) -> Iterator[tuple[Indices, Float64s]]:
    """Sum over t of min(V_i[t], V_j[t]), for some rows i.

    Args:
        encoding: (N, N), V.
        rows: the rows i.
        starts: for each stored entry (i, t), the place in column t of the first j of interest.

    Yields:
        For each row, the j with a sum above 0, and these sums.
    """
    by_column = encoding.tocsc()
    names, values = by_column.indices.astype(np.intp), by_column.data
    ends = by_column.indptr[encoding.indices + 1]
    for row in rows:
        own = slice(encoding.indptr[row], encoding.indptr[row + 1])
        lengths = ends[own] - starts[own]
        offsets = np.cumsum(lengths)
        places = np.repeat(ends[own] - offsets, lengths)
        places += np.arange(len(places))
        least = values.take(places)  # faster than values[places]
        np.minimum(least, np.repeat(encoding.data[own], lengths), out=least)
        mass = np.bincount(names.take(places), weights=least).astype(np.float64, copy=False)
        columns = np.flatnonzero(mass)
        yield columns, mass[columns]


def _own_places(encoding: scipy.sparse.csr_array) -> Indices:
    """The place of each stored entry (i, t) in column t, where the j >= i begin."""
    places = np.empty(encoding.nnz, np.intp)
    places[np.argsort(encoding.indices, kind="stable")] = np.arange(encoding.nnz)
    return places


def _places_from(encoding: scipy.sparse.csr_array, first: int) -> Indices:
    """For each stored entry (i, t), the place in column t where the j >= ``first`` begin."""
    earlier = encoding.indices[: encoding.indptr[first]]
    before = np.bincount(earlier, minlength=encoding.shape[1])
    starts: Indices = (encoding.tocsc().indptr[:-1] + before)[encoding.indices]
    return starts
