"""The nearest crops of every crop: exactly, or by a graph that large sites need less time for.

Letters: N crops, D dimensions, K length of a list, S candidates of each crop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from service.search.neighbours import nearest_of_all
from training.core.method_options import Nearest
from training.hhcl.packages import import_faiss

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Indices = NDArray[np.intp]

_LINKS, _WIDTH_BUILDING, _WIDTH_SEARCHING = 32, 80, 96  # of the graph, and of its beams
_CANDIDATES = 2  # times the length of a list
_COMPONENT_OF = 10  # dimensions; the service's searches take as many components
_FEWEST = 16  # components
_SAMPLED = 20_000  # crops that the components are computed from
_AT_ONCE = 64  # crops whose lists are compared


def nearest_crops(embeddings: Float32s, length: int, how: Nearest) -> Indices:
    """Find the nearest crops of every crop.

    Args:
        embeddings: (N, D) float32, unit rows.
        length: K, at least 1; clipped to N.
        how: ``exact`` or ``graph``.

    Returns:
        (N, K) nearest crops, starting with the crop itself. With ``graph``, some lists lack some.

    Raises:
        InvalidInput: ``graph``, and FAISS is not installed.
    """
    length = min(length, len(embeddings))
    if how == "graph" and _CANDIDATES * length < len(embeddings):
        return nearest_by_graph(embeddings, length)
    return nearest_of_all(embeddings, length).rank


def nearest_by_graph(embeddings: Float32s, length: int) -> Indices:
    """Find them by a graph of near crops (HNSW: Malkov and Yashunin, PAMI 2020).

    It walks over a tenth of the numbers, the principal components, where embeddings of people
    differ most. It is fast because it compares each crop with some hundred others instead of all,
    and because only the candidates that it finds are compared by all numbers.

    Args:
        embeddings: (N, D) float32, unit rows.
        length: K, 2 K < N.

    Returns:
        As :func:`nearest_crops`; the same on every machine that computes the same components.

    Raises:
        InvalidInput: FAISS is not installed.
    """
    components = _principal_components(embeddings)
    graph = _build_graph(components)
    _, candidates = graph.search(components, _CANDIDATES * length)
    return _nearest_candidates(embeddings, candidates, length)


def _principal_components(embeddings: Float32s) -> Float32s:
    """(N, D / 10) the embeddings along the directions in which they are longest."""
    count, dimension = embeddings.shape
    some = embeddings[np.linspace(0, count - 1, min(count, _SAMPLED)).astype(np.intp)]
    products = some.T @ some
    with threadpool_limits(1):  # 0.4 s; with two threads, 12 where others keep a processor busy
        _, directions = np.linalg.eigh(products)  # ascending
    kept = max(dimension // _COMPONENT_OF, min(dimension, _FEWEST))
    return np.ascontiguousarray(embeddings @ directions[:, -kept:])


def _build_graph(components: Float32s) -> Any:
    faiss = import_faiss()
    graph = faiss.IndexHNSWFlat(components.shape[1], _LINKS)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = _WIDTH_BUILDING, _WIDTH_SEARCHING
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # with more, the graph depends on who came first
    try:
        graph.add(components)
    finally:
        faiss.omp_set_num_threads(threads)
    return graph


def _nearest_candidates(embeddings: Float32s, candidates: Int64s, length: int) -> Indices:
    """The nearest among each crop's candidates, (N, S), some of them -1: nobody."""
    own = np.arange(len(embeddings))[:, None]
    candidates = np.sort(candidates, axis=1)  # ties in the order of crops
    cosine = cosines_to(embeddings, candidates)
    cosine[(candidates < 0) | (candidates == own)] = -np.inf
    order = np.argsort(-cosine, axis=1, kind="stable")[:, : length - 1]
    rank = np.hstack([own, np.take_along_axis(candidates, order, axis=1)])
    lacking = np.isneginf(np.take_along_axis(cosine, order, axis=1)).any(axis=1)
    _search_exactly(embeddings, rank, np.flatnonzero(lacking))
    return rank


def cosines_to(embeddings: Float32s, lists: Int64s) -> Float32s:
    """Compute the cosines of crops to those in their lists.

    Args:
        embeddings: (N, D) float32, unit rows.
        lists: (N, S), -1..N-1.

    Returns:
        (N, S) float32; any value where a list holds -1.
    """
    cosine = np.empty(lists.shape, np.float32)
    for start in range(0, len(lists), _AT_ONCE):
        own = slice(start, start + _AT_ONCE)
        cosine[own] = np.matmul(embeddings[lists[own]], embeddings[own, :, None])[..., 0]
    return cosine


def _search_exactly(embeddings: Float32s, rank: Indices, lacking: Indices) -> None:
    """Write the lists of crops from which the graph did not lead to enough others."""
    for start in range(0, len(lacking), _AT_ONCE):
        rows = lacking[start : start + _AT_ONCE]
        cosine = embeddings[rows] @ embeddings.T
        cosine[np.arange(len(rows)), rows] = np.inf
        rank[rows] = np.argsort(-cosine, axis=1, kind="stable")[:, : rank.shape[1]]
