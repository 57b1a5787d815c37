"""Density-based clustering (DBSCAN: Ester, Kriegel, Sander, Xu, KDD 1996) on a sparse graph.

Training makes pseudo-labels with it, and the service groups crops into persons.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

OUTLIER = -1

Int64s = NDArray[np.int64]


def find_dense(distance: scipy.sparse.csr_array, eps: float, min_samples: int) -> Int64s:
    """Find clusters of dense points.

    A core point has ``min_samples`` points within ``eps``, itself included. Core points within
    ``eps`` of each other share a cluster. Any other point joins the first cluster with a core point
    within ``eps`` of it. Clusters are numbered by their first core point. The labels equal those of
    scikit-learn's DBSCAN.

    Args:
        distance: (N, N) sparse and symmetric. Entries that are not stored count as larger than any
            ``eps``, except the diagonal, which is 0.
        eps: largest distance of neighbours, >= 0.
        min_samples: fewest neighbours of a core point, itself included, >= 1.

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
    """The component of every core point; components are numbered by their first point."""
    inside = core[rows] & core[columns]
    links = (np.ones(int(inside.sum()), np.int8), (rows[inside], columns[inside]))
    graph = scipy.sparse.coo_array(links, shape=(len(core), len(core)))
    _, component = scipy.sparse.csgraph.connected_components(graph.tocsr(), directed=False)
    _, first, number = np.unique(component[core], return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number]
