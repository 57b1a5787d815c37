"""Density-based clustering gives the same labels as scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from service.identities.dbscan import find_dense
from service.search.kreciprocal import jaccard_distance

sklearn_cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")


def expected(distance: csr_array, eps: float, min_samples: int) -> list[int]:
    dbscan = sklearn_cluster.DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")
    return dbscan.fit_predict(distance.copy()).tolist()


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sparse(points: np.ndarray, reach: float) -> csr_array:
    dense = np.abs(np.subtract.outer(points, points))
    row, column = np.nonzero(dense <= reach)
    return csr_array((dense[row, column], (row, column)), shape=dense.shape)


def test_min_samples_counts_the_point_itself_and_borders_join_the_first_cluster():
    points = np.array([0, 0.1, 0.2, 0.3, 1, 1.1, 1.2, 5])
    assert find_dense(sparse(points, 9), 0.35, 4).tolist() == [0, 0, 0, 0, -1, -1, -1, -1]
    between = np.array([2.0, 2.1, 2.2, 3.0, 3.8, 3.9, 4.0])  # 3.0 is near both, not a core
    assert find_dense(sparse(between, 9), 0.81, 4).tolist() == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("min_samples", [1, 2, 4])
def test_labels_are_those_of_scikit_learn_on_jaccard_distances(seed, min_samples):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(25, 16))
    rows = units(centres[rng.integers(0, 25, 300)] + 0.5 * rng.normal(size=(300, 16)))
    distance = jaccard_distance(rows, k1=12, k2=3)
    for eps in (0.3, 0.45, 0.6, 0.8):
        found = find_dense(distance, eps, min_samples)
        assert found.tolist() == expected(distance, eps, min_samples)


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    eps=st.integers(1, 4),
    min_samples=st.integers(1, 6),
)
def test_labels_are_those_of_scikit_learn_where_distances_tie(points, eps, min_samples):
    distance = sparse(np.array(points, dtype=np.float64), reach=8.0)
    assert find_dense(distance, float(eps), min_samples).tolist() == expected(
        distance, float(eps), min_samples
    )


def test_a_graph_without_neighbours():
    alone = csr_array((4, 4), dtype=np.float64)
    assert find_dense(alone, 0.5, 2).tolist() == [-1] * 4
    assert find_dense(alone, 0.5, 1).tolist() == [0, 1, 2, 3]
    assert find_dense(csr_array((0, 0), dtype=np.float64), 0.5, 2).tolist() == []
