"""k-reciprocal encoding against hand-checked vectors and a slow dense oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.search import kreciprocal
from service.search.kreciprocal import jaccard_distance, rerank

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(params=["dense arrays", "sparse rows"])
def either_way(request, monkeypatch):
    """Re-rank few rows as searches do, and as the evaluation does with many."""
    if request.param == "sparse rows":
        monkeypatch.setattr(kreciprocal, "_FEW", 0)


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def densify(sparse) -> np.ndarray:
    dense = np.ones(sparse.shape)
    rows = np.repeat(np.arange(sparse.shape[0]), np.diff(sparse.indptr))
    dense[rows, sparse.indices] = sparse.data
    return dense


@pytest.fixture
def defined_jaccard(monkeypatch):
    """The definition, which the benchmark of clustering compares with, too."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from reranking.definition import defined_jaccard

    return defined_jaccard


def random_units(count: int, dimension: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count // 6 + 1, dimension))
    rows = centres[rng.integers(len(centres), size=count)]
    rows = rows + 0.5 * rng.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_vector_g_clustering_variant():
    distance = densify(jaccard_distance(on_circle(0, 10, 25, 90, 105, 112, 180), k1=3, k2=2))
    near, far = 0.0636030515906939, 0.6666666666666667
    low = 0.05254512930602617
    expected = np.ones((7, 7))
    expected[:3, :3] = [[0, 0, near], [0, 0, near], [near, near, 0]]
    expected[3:6, 3:6] = [[0, low, low], [low, 0, 0], [low, 0, 0]]
    expected[6, 3:7] = expected[3:7, 6] = [far, far, far, 0]
    np.testing.assert_allclose(distance, expected, atol=1e-5)


@pytest.mark.parametrize("within", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_only_what_is_within_a_distance_is_stored(within):
    rows = random_units(120, 16, seed=1)
    every = jaccard_distance(rows, k1=12, k2=3)
    near = jaccard_distance(rows, k1=12, k2=3, within=within)
    np.testing.assert_array_equal(
        densify(near), np.where(densify(every) <= within, densify(every), 1.0)
    )
    assert near.nnz == np.count_nonzero(every.data <= within)
    assert (near != near.T).nnz == 0, "symmetric to the last bit"


def test_exact_zero_distances_are_stored():
    """DBSCAN on a sparse graph sees only stored entries, so a distance of 0 must be stored."""
    graph = jaccard_distance(on_circle(0, 10, 25, 90, 105, 112, 180), k1=3, k2=2)
    assert graph[[0], :].indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("count", "k1", "k2"), [(120, 30, 6), (57, 12, 3), (9, 30, 6)])
def test_clustering_variant_agrees_with_the_definition(
    defined_jaccard, count: int, k1: int, k2: int
):
    rows = random_units(count, 16, seed=count)
    squared = 2 - 2 * rows.astype(float) @ rows.T.astype(float)
    np.fill_diagonal(squared, 0)
    k1_used = min(k1, count)
    expected = defined_jaccard(squared, k1_used, k1_used, k2)
    np.testing.assert_allclose(densify(jaccard_distance(rows, k1=k1, k2=k2)), expected, atol=1e-5)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (
            1,
            [
                [0.0015051764, 0.0173296413, 0.8146337745, 0.8735124418, 1.0],
                [0.9582480697, 0.8973939570, 0.0286165102, 0.0022361546, 0.6640606237],
            ],
        ),
        (
            2,
            [
                [7.5518524e-06, 5.4093891e-04, 0.7438030075, 0.8003552248, 1.0],
                [0.9223068850, 0.8298812475, 0.0016018061, 1.6667957e-05, 0.5965479142],
            ],
        ),
    ],
)
def test_vector_h_reranking(power: int, expected: list[list[float]]):
    distance = rerank(
        on_circle(0, 90), on_circle(8, 20, 75, 97, 160), k1=2, k2=2, lambda_value=0.3, power=power
    )
    np.testing.assert_allclose(distance, expected, atol=1e-5)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("queries", [1, 20])
@pytest.mark.parametrize(("count", "k1", "k2"), [(120, 20, 6), (64, 9, 1), (65, 7, 3), (12, 20, 6)])
def test_reranking_agrees_with_the_definition(
    defined_jaccard, queries: int, count: int, k1: int, k2: int
):
    rows = random_units(count, 16, seed=5)
    queries = min(queries, count - 1)
    squared = 2 - 2 * rows.astype(float) @ rows.T.astype(float)
    np.fill_diagonal(squared, 0)
    scaled = squared / squared.max(axis=1, keepdims=True)
    width = min(k1 + 1, count)
    expected = (0.7 * defined_jaccard(scaled, width, k1, k2) + 0.3 * scaled)[:queries, queries:]
    found = rerank(rows[:queries], rows[queries:], k1=k1, k2=k2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 30, 100, 500])
def test_few_rows_are_ordered_as_many_are(count: int, power: int, monkeypatch):
    for seed in range(4):
        rows = random_units(count + 1, 64, seed)
        dense = rerank(rows[:1], rows[1:], power=power)
        with monkeypatch.context() as patch:
            patch.setattr(kreciprocal, "_FEW", 0)
            sparse = rerank(rows[:1], rows[1:], power=power)
        np.testing.assert_allclose(dense, sparse, atol=2e-7)
        np.testing.assert_array_equal(*(np.argsort(one, kind="stable") for one in (dense, sparse)))


def test_neighbours_at_the_same_distance_are_as_many_as_asked_for():
    """Seven of ten equal rows fit into the lists; selecting by value alone would take all ten."""
    rows = np.concatenate([np.repeat(on_circle(30), 10, axis=0), on_circle(80, 100, 140)])
    distance = rerank(rows[:1], rows[1:], k1=6, k2=2)
    assert distance.shape == (1, 12)
    assert np.isfinite(distance).all()
    assert distance[0, :9].max() < distance[0, 9:].min()


@pytest.mark.usefixtures("either_way")
def test_duplicates_and_tiny_galleries_work():
    same = np.repeat(on_circle(30), 4, axis=0)
    assert np.isfinite(rerank(same[:1], same[1:])).all()
    assert rerank(on_circle(0), on_circle(5)).shape == (1, 1)
    assert jaccard_distance(on_circle(0)).shape == (1, 1)
    assert jaccard_distance(np.empty((0, 2), np.float32)).shape == (0, 0)
