"""Clusters of dense points (DBSCAN: Ester, Kriegel, Sander, Xu, KDD 1996), on a sparse graph.

Both programs group crops with it: training makes pseudo-labels, the service persons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

OUTLIER = -1

Int64s = NDArray[np.int64]


def find_dense(distance: csr_array, eps: float, min_samples: int) -> Int64s:
    """Clusters of points that lie dense.

    A core point has ``min_samples`` points within ``eps``, itself included. Core points within
    ``eps`` of each other share a cluster; another point joins the first cluster that has a core
    point within ``eps`` of it. Clusters are numbered by their first core point. These are the
    labels of scikit-learn's DBSCAN.

    Args:
        distance: (N, N) sparse and symmetric; an entry that is not stored is farther than any
            ``eps``, but for the diagonal, which is 0.
        eps: least distance that separates, >= 0.
        min_samples: points that make a neighbourhood dense, >= 1.

    Returns:
        (N,) int64: 0..C-1, or -1 for an outlier.
    """
    count = distance.shape[0]
    stored = distance.tocoo()
    near = (stored.data <= eps) & (stored.row != stored.col)
    rows, columns = stored.row[near], stored.col[near]
    core = np.bincount(rows, minlength=count) + 1 >= min_samples
    labels = np.full(count, OUTLIER, dtype=np.int64)
    labels[core] = _components(rows, columns, core)
    border = core[rows] & ~core[columns]
    first = np.full(count, count, dtype=np.int64)
    np.minimum.at(first, columns[border], labels[rows[border]])
    reached = first < count
    labels[reached] = first[reached]
    return labels


def _components(rows: Int64s, columns: Int64s, core: NDArray[np.bool_]) -> Int64s:
    """The component of every core point, numbered by its first one."""
    inside = core[rows] & core[columns]
    links = (np.ones(int(inside.sum()), np.int8), (rows[inside], columns[inside]))
    graph = coo_array(links, shape=(len(core), len(core)))
    _, component = connected_components(graph.tocsr(), directed=False)
    _, first, number = np.unique(component[core], return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number]
