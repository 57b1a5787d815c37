"""Pseudo-labels: DBSCAN (vector G) and Infomap on the Jaccard distance, sites, degenerate input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from service.errors import InvalidInput
from service.search.kreciprocal import jaccard_distance
from training.core.options import ClusterOptions
from training.hhcl.clustering import cluster


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(identities: int, crops: int, cameras: int, seed: int = 0, shift: float = 0.0):
    """Well separated people; each camera adds a constant of its own to all embeddings."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, 32))
    offsets = shift * rng.normal(size=(cameras, 32))
    identity = np.repeat(np.arange(identities), crops * cameras)
    camera = np.tile(np.repeat(np.arange(cameras), crops), identities)
    rows = centres[identity] + offsets[camera] + 0.1 * rng.normal(size=(len(identity), 32))
    return units(rows), identity, camera


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def test_vector_g_dbscan():
    labels = cluster(
        on_circle(0, 10, 25, 90, 105, 112, 180),
        np.zeros(7, np.int64),
        ClusterOptions(k1=3, k2=2, eps=0.6, min_samples=2),
        pytest.fail,
    )
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, -1]


def test_vector_g_min_samples_counts_the_crop_itself():
    points = np.array([0, 0.1, 0.2, 0.3, 1, 1.1, 1.2, 5])
    distance = np.abs(np.subtract.outer(points, points))
    found = DBSCAN(eps=0.35, min_samples=4, metric="precomputed").fit_predict(distance)
    assert found.tolist() == [0, 0, 0, 0, -1, -1, -1, -1]


def test_sparse_and_dense_graphs_give_the_same_clusters():
    rows, _, _ = people(12, 5, 1)
    sparse = jaccard_distance(rows, k1=8, k2=3)
    dense = np.ones(sparse.shape)
    index = np.repeat(np.arange(len(rows)), np.diff(sparse.indptr))
    dense[index, sparse.indices] = sparse.data
    options = {"eps": 0.5, "min_samples": 3, "metric": "precomputed"}
    expected = DBSCAN(**options).fit_predict(dense)
    assert DBSCAN(**options).fit_predict(sparse).tolist() == expected.tolist()


def test_people_are_found():
    rows, identity, camera = people(10, 6, 2)
    labels = cluster(rows, camera, ClusterOptions(k1=10, k2=3, eps=0.5), pytest.fail)
    assert same_partition(labels, identity)


def test_linking_finds_people_although_each_camera_shifts_all_embeddings():
    rows, identity, camera = people(20, 5, 2, shift=1.5)
    options = {"k1": 5, "k2": 2, "eps": 0.5, "min_samples": 2}
    apart = cluster(rows, camera, ClusterOptions(**options), lambda _: None)
    assert apart.max() + 1 > 20  # plain DBSCAN never crosses cameras here
    linked = cluster(rows, camera, ClusterOptions(scheme="camera-link", **options), pytest.fail)
    assert same_partition(linked, identity)


def infomap_options(**changes) -> ClusterOptions:
    pytest.importorskip("infomap", reason="the package infomap is not installed")
    return ClusterOptions(**{"scheme": "infomap", "k1": 8, "k2": 3, "eps": 0.5} | changes)


def test_infomap_finds_people_and_repeats():
    rows, identity, camera = people(10, 6, 2)
    labels = cluster(rows, camera, infomap_options(k1=15, k2=4), pytest.fail)
    assert same_partition(labels, identity)
    assert list(dict.fromkeys(labels.tolist())) == list(range(10))  # numbered by first crop
    again = cluster(rows, camera, infomap_options(k1=15, k2=4), pytest.fail)
    assert again.tolist() == labels.tolist()


def test_infomap_separates_two_people_whom_dbscan_joins_over_a_bridge_of_crops():
    arcs = np.concatenate([np.linspace(0, 20, 12), [27.0], np.linspace(34, 54, 12), [180, 181]])
    rows, camera = on_circle(*arcs), np.zeros(len(arcs), np.int64)
    rule = {"k1": 12, "k2": 2, "eps": 0.8, "min_samples": 2}
    chained = cluster(rows, camera, ClusterOptions(**rule), pytest.fail)
    assert chained[0] == chained[24]
    parted = cluster(rows, camera, infomap_options(**rule), pytest.fail)
    assert parted[0] != parted[24]
    assert parted.max() > chained.max()


def test_infomap_leaves_small_communities_out():
    rows, identity, _ = people(6, 6, 1)
    few = np.concatenate([rows, people(1, 3, 1, seed=9)[0]])
    labels = cluster(few, np.zeros(len(few), np.int64), infomap_options(k1=6, k2=1), pytest.fail)
    assert same_partition(labels[: len(rows)], identity)
    assert (labels[len(rows) :] == -1).all()


def test_the_error_without_infomap_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    rows, _, camera = people(3, 4, 1)
    with pytest.raises(InvalidInput, match="pip install infomap"):
        cluster(rows, camera, ClusterOptions(scheme="infomap"), pytest.fail)


@pytest.mark.parametrize("scheme", ["dbscan", "infomap", "camera-link"])
def test_no_cluster_spans_two_sites(scheme):
    """The same twelve people are on both sites, so only the sites separate them."""
    if scheme == "infomap":
        pytest.importorskip("infomap", reason="the package infomap is not installed")
    rows, identity, camera = people(12, 5, 4, shift=0.2)
    sites = camera // 2
    options = ClusterOptions(scheme=scheme, k1=5, k2=2, eps=0.5, min_samples=2)
    labels = cluster(rows, camera, options, pytest.fail, 1.0, sites)
    for label in range(labels.max() + 1):
        assert len(set(sites[labels == label])) == 1
    assert set(labels) == set(range(labels.max() + 1))
    if scheme == "camera-link":
        assert same_partition(labels, identity * 2 + sites)
        together = cluster(rows, camera, options, pytest.fail)
        assert same_partition(together, identity)


def test_with_one_cluster_or_none_eps_changes_with_a_message():
    rows, _, camera = people(3, 8, 1)
    told: list[str] = []
    labels = cluster(rows, camera, ClusterOptions(k1=24, k2=1, eps=0.98), told.append)
    assert labels.max() + 1 >= 2
    assert told
    assert "trying eps" in told[0]


@pytest.mark.parametrize("scheme", ["dbscan", "infomap", "camera-link"])
def test_crops_that_never_cluster_are_a_clear_error(scheme):
    if scheme == "infomap":
        pytest.importorskip("infomap", reason="the package infomap is not installed")
    with pytest.raises(InvalidInput, match="do not form two clusters"):
        cluster(on_circle(0, 90), np.arange(2), ClusterOptions(scheme=scheme), lambda _: None)


@pytest.mark.parametrize(("key", "value"), [("eps", 0.0), ("eps", 1.0), ("k1", 0)])
def test_options_out_of_range_are_rejected(key, value):
    with pytest.raises(ValueError, match=key):
        ClusterOptions(**{key: value})
