"""The nearest crops of every crop, exactly and by a graph."""

from __future__ import annotations

import sys

import faiss
import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import adjusted_rand_score

from service.errors import InvalidInput
from service.search.neighbours import nearest_of_all
from training.core.method_options import ClusterOptions
from training.hhcl.clustering import cluster
from training.hhcl.nearest import nearest_by_graph, nearest_crops


def people(identities: int, crops: int, dimension: int = 64, noise: float = 0.6):
    rng = np.random.default_rng(0)
    scale = np.arange(1, dimension + 1) ** -1.0  # crops differ in some directions more
    identity = np.repeat(np.arange(identities), crops)
    rows = rng.normal(size=(identities, dimension))[identity]
    rows = (rows + noise * rng.normal(size=rows.shape)) * scale
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), identity


def share_found(found: np.ndarray, exact: np.ndarray) -> float:
    both = [len(np.intersect1d(*lists)) for lists in zip(found, exact, strict=True)]
    return float(np.mean(both)) / exact.shape[1]


def test_a_graph_finds_nearly_all_that_an_exact_search_finds():
    rows, _ = people(100, 15)
    found, exact = nearest_by_graph(rows, 20), nearest_of_all(rows, 20).rank
    assert found.shape == exact.shape
    assert (found[:, 0] == np.arange(len(rows))).all()
    assert all(len(set(own)) == 20 for own in found.tolist())
    assert share_found(found, exact) >= 0.95


def test_lists_are_in_the_order_of_all_numbers_though_the_graph_knows_few():
    rows, _ = people(60, 10)
    found = nearest_by_graph(rows, 12)
    cosine = np.take_along_axis(rows @ rows.T, found, axis=1)
    assert (np.diff(cosine[:, 1:], axis=1) <= 1e-6).all()


def test_one_thread_builds_the_graph_and_then_all_may_work_again(monkeypatch):
    rows, _ = people(30, 10)
    building = []

    class Watched(faiss.IndexHNSWFlat):
        def add(self, components):
            building.append(faiss.omp_get_max_threads())
            super().add(components)

    monkeypatch.setattr(faiss, "IndexHNSWFlat", Watched)
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(4)
        nearest_by_graph(rows, 10)
        assert building == [1]
        assert faiss.omp_get_max_threads() == 4
    finally:
        faiss.omp_set_num_threads(threads)


def test_crops_that_are_there_many_times_have_whole_lists():
    rows, _ = people(40, 10)
    rows[:300] = rows[0]  # a graph may not lead away from so many equal ones
    found = nearest_by_graph(rows, 40)
    assert (found[:, 0] == np.arange(len(rows))).all()
    assert found.min() >= 0
    assert all(len(set(own)) == 40 for own in found.tolist())
    cosine = np.take_along_axis(rows @ rows.T, found, axis=1)
    np.testing.assert_allclose(cosine[:300], 1.0, atol=1e-5)


def test_crops_that_the_graph_does_not_reach_are_searched_for_exactly(monkeypatch):
    rows, _ = people(30, 10)

    class Lost:
        def search(self, components, length):
            return None, np.full((len(components), length), -1)

    monkeypatch.setattr("training.hhcl.nearest._build_graph", lambda components: Lost())
    np.testing.assert_array_equal(nearest_by_graph(rows, 8), nearest_of_all(rows, 8).rank)


@pytest.mark.parametrize("crops", [0, 1, 3, 20])
def test_few_crops_are_searched_exactly(crops):
    rows = people(20, 1)[0][:crops]
    expected = nearest_of_all(rows, min(10, crops)).rank
    np.testing.assert_array_equal(nearest_crops(rows, 10, "graph"), expected)


@pytest.mark.parametrize("scheme", ["dbscan", "camera-link"])
def test_clusters_are_nearly_those_of_an_exact_search(scheme):
    rows, _ = people(80, 16, noise=0.3)
    cameras = np.tile([0, 1], len(rows) // 2)
    options = {"scheme": scheme, "k1": 12, "k2": 3}
    exact = cluster(rows, cameras, ClusterOptions(**options), pytest.fail)
    found = cluster(rows, cameras, ClusterOptions(**options, nearest="graph"), pytest.fail)
    assert adjusted_rand_score(exact, found) > 0.98


def test_a_graph_and_infomap_are_refused_because_their_packages_do_not_go_together():
    with pytest.raises(ValidationError, match='must be "exact" if scheme is "infomap"'):
        ClusterOptions(scheme="infomap", nearest="graph")


def test_the_error_without_faiss_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InvalidInput, match=r"hhcl-reid\[train,server-cpu\]"):
        nearest_crops(people(20, 5)[0], 10, "graph")
