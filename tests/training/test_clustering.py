"""Pseudo-labels: DBSCAN on the Jaccard distance (vector G), linking cameras, degenerate input."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from service.errors import InvalidInput
from service.kreciprocal import jaccard_distance
from training.clustering import cluster, link_cameras, standardise_cameras
from training.options import ClusterOptions


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(identities: int, crops: int, cameras: int, seed: int = 0, shift: float = 0.0):
    """Well separated people; each camera adds a constant of its own."""
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


def test_sparse_and_dense_graphs_cluster_alike():
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


def test_linking_finds_people_across_cameras_that_shift_everything():
    rows, identity, camera = people(20, 5, 2, shift=1.5)
    options = {"k1": 5, "k2": 2, "eps": 0.5, "min_samples": 2}
    apart = cluster(rows, camera, ClusterOptions(**options), lambda _: None)
    assert apart.max() + 1 > 20  # plain DBSCAN never crosses cameras here
    linked = cluster(rows, camera, ClusterOptions(scheme="camera-link", **options), pytest.fail)
    assert same_partition(linked, identity)


def test_linking_never_merges_two_clusters_of_one_camera():
    rows, identity, camera = people(6, 4, 3)
    per_camera = identity * 3 + camera
    linked = link_cameras(rows, camera, per_camera.astype(np.int64))
    for label in np.unique(linked):
        mine = linked == label
        assert len(set(per_camera[mine])) == len(set(camera[mine]))
    assert same_partition(linked, identity)


def test_linking_keeps_outliers_and_survives_having_nothing():
    rows, identity, camera = people(4, 3, 2)
    labels = (identity * 2 + camera).astype(np.int64)
    labels[0] = -1
    assert link_cameras(rows, camera, labels)[0] == -1
    nothing = np.full(len(rows), -1)
    assert (link_cameras(rows, camera, nothing) == -1).all()


def test_standardised_cameras_have_unit_rows_and_no_offset():
    rows, _, camera = people(30, 4, 2, shift=2.0)
    standard = standardise_cameras(rows, camera)
    np.testing.assert_allclose(np.linalg.norm(standard, axis=1), 1, atol=1e-5)
    assert np.abs(standard[camera == 0].mean(axis=0)).max() < 0.05
    one_crop = standardise_cameras(rows[:1], camera[:1])
    assert np.isfinite(one_crop).all()


def test_one_cluster_or_none_changes_eps_and_says_so():
    rows, _, camera = people(3, 8, 1)
    told: list[str] = []
    labels = cluster(rows, camera, ClusterOptions(k1=24, k2=1, eps=0.98), told.append)
    assert labels.max() + 1 >= 2
    assert told
    assert "trying eps" in told[0]


def test_hopeless_input_is_a_clear_error():
    with pytest.raises(InvalidInput, match="no two clusters"):
        cluster(on_circle(0, 90), np.zeros(2, np.int64), ClusterOptions(), lambda _: None)


@pytest.mark.parametrize(("key", "value"), [("eps", 0.0), ("eps", 1.0), ("k1", 0)])
def test_options_out_of_range_are_refused(key, value):
    with pytest.raises(ValueError, match=key):
        ClusterOptions(**{key: value})
