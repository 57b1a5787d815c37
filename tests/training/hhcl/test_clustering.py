"""Pseudo-labels: DBSCAN on the Jaccard distance (vector G), Infomap on cosines, sites, errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from service.errors import InvalidInput
from service.search.kreciprocal import jaccard_distance
from training.core.method_options import ClusterOptions
from training.data.known_pairs import KnownPairs
from training.hhcl.clustering import cluster, cosine_distances, link_progress
from training.hhcl.nearest import nearest_crops


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


@pytest.mark.parametrize(
    ("progress", "joined"), [(0.0, 5), (0.25, 8), (0.5, 10), (0.75, 13), (1.0, 15)]
)
def test_the_share_of_links_grows_with_the_run(progress, joined):
    """Of twenty links a quarter is used in the first epoch, three quarters after the last."""
    rows, _, camera = people(20, 5, 2)
    shares = {"link_first": 0.25, "link_last": 0.75}
    options = ClusterOptions(scheme="camera-link", k1=5, k2=2, eps=0.5, min_samples=2, **shares)
    labels = cluster(rows, camera, options, pytest.fail, progress)
    assert labels.max() + 1 == 40 - joined


@pytest.mark.parametrize(
    ("last_epoch", "expected"),
    [
        (0, [0.0, 0.25, 0.5, 0.75]),  # link_last would follow the last epoch
        (1, [1.0, 1.0, 1.0, 1.0]),
        (2, [0.0, 1.0, 1.0, 1.0]),
        (3, [0.0, 0.5, 1.0, 1.0]),
        (4, [0.0, 1 / 3, 2 / 3, 1.0]),
        (9, [0.0, 0.125, 0.25, 0.375]),  # a longer run's growth, of which this one sees the start
    ],
)
def test_the_share_of_links_stays_from_the_epoch_that_is_asked_for(last_epoch, expected):
    options = ClusterOptions(scheme="camera-link", link_last_epoch=last_epoch)
    assert [link_progress(epoch, options, 4) for epoch in range(4)] == pytest.approx(expected)


def infomap_options(**changes) -> ClusterOptions:
    pytest.importorskip("infomap", reason="the package infomap is not installed")
    return ClusterOptions(**{"scheme": "infomap", "k1": 15, "eps": 0.5} | changes)


def test_infomap_finds_people_and_repeats():
    rows, identity, camera = people(10, 6, 2)
    labels = cluster(rows, camera, infomap_options(), pytest.fail)
    assert same_partition(labels, identity)
    assert list(dict.fromkeys(labels.tolist())) == list(range(10))  # numbered by first crop
    again = cluster(rows, camera, infomap_options(), pytest.fail)
    assert again.tolist() == labels.tolist()


def clustered_as_in_cluster_contrast(rows: np.ndarray, neighbours: int, similar: float):
    """The released graph: one link from each crop to each of its nearest that is similar."""
    import infomap

    cosine = rows.astype(np.float64) @ rows.T
    links = [
        (crop, int(other), cosine[crop, other])
        for crop in range(len(rows))
        for other in np.argsort(-cosine[crop])[:neighbours]
        if other != crop and cosine[crop, other] >= similar
    ]
    found = infomap.run(links, two_level=True, flow_model="directed", seed=1).modules()
    return np.array([found.get(crop, -1 - crop) for crop in range(len(rows))])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_infomap_clusters_the_graph_of_cluster_contrast(seed):
    options = infomap_options()
    rng = np.random.default_rng(seed)
    centres, identity = rng.normal(size=(12, 8)), np.arange(150) % 12
    rows = units(centres[identity] + 0.7 * rng.normal(size=(150, 8)))
    labels = cluster(rows, np.zeros(150, np.int64), options, pytest.fail)
    modules = clustered_as_in_cluster_contrast(rows, 15, 0.5)
    large = np.isin(modules, [m for m in set(modules) if (modules == m).sum() >= 4])
    assert (labels >= 0).tolist() == large.tolist()
    assert same_partition(labels[large], modules[large])
    assert labels.max() > 5


def test_a_graph_of_cosines_holds_each_crops_nearest():
    rows = np.random.default_rng(1).normal(size=(140, 5))
    rows = units(np.concatenate([rows, rows[:2]]))  # two crops are there twice
    cosine = rows.astype(np.float64) @ rows.T
    np.fill_diagonal(cosine, -2)
    found = cosine_distances(rows, nearest_crops(rows, 7, "exact"))
    assert found.shape == (142, 142)
    for crop in range(142):
        own = slice(found.indptr[crop], found.indptr[crop + 1])
        wanted = 1 - cosine[crop, found.indices[own]]
        np.testing.assert_allclose(found.data[own], wanted, atol=1e-6)
        nearest = 1 - np.sort(cosine[crop])[::-1][:6]
        np.testing.assert_allclose(np.sort(found.data[own]), nearest, atol=1e-6)


@pytest.mark.parametrize(("crops", "stored"), [(0, 0), (1, 0), (3, 6)])
def test_a_list_is_as_long_as_there_are_other_crops(crops, stored):
    rows = on_circle(*range(crops))
    assert cosine_distances(rows, nearest_crops(rows, 15, "exact")).nnz == stored


def test_infomap_never_links_crops_that_are_less_similar_than_asked():
    rows = on_circle(0, 1, 2, 3, 64, 65, 66, 67)  # cosines of 0.43 to 0.48 across
    camera = np.zeros(8, np.int64)
    apart = cluster(rows, camera, infomap_options(), pytest.fail)
    assert apart.tolist() == [0] * 4 + [1] * 4


def test_infomap_separates_two_people_whom_dbscan_joins_over_a_bridge_of_crops():
    arcs = np.concatenate([np.linspace(0, 20, 12), [27.0], np.linspace(34, 54, 12), [180, 181]])
    rows, camera = on_circle(*arcs), np.zeros(len(arcs), np.int64)
    rule = {"k1": 12, "k2": 2, "eps": 0.8, "min_samples": 2}
    chained = cluster(rows, camera, ClusterOptions(**rule), pytest.fail)
    assert chained[0] == chained[24]
    parted = cluster(rows, camera, infomap_options(k1=12, min_samples=2), pytest.fail)
    assert parted[0] != parted[24]
    assert parted.max() > chained.max()


def test_infomap_leaves_small_communities_out():
    rows, identity, _ = people(6, 6, 1)
    few = np.concatenate([rows, people(1, 3, 1, seed=9)[0]])
    labels = cluster(few, np.zeros(len(few), np.int64), infomap_options(), pytest.fail)
    assert same_partition(labels[: len(rows)], identity)
    assert (labels[len(rows) :] == -1).all()


def test_the_error_without_infomap_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "infomap", None)
    rows, _, camera = people(3, 4, 1)
    with pytest.raises(InvalidInput, match="pip install infomap"):
        cluster(rows, camera, ClusterOptions(scheme="infomap"), pytest.fail)


@pytest.mark.parametrize(
    ("scheme", "shift", "k1"), [("dbscan", 0.0, 15), ("infomap", 0.0, 15), ("camera-link", 0.2, 5)]
)
def test_no_cluster_spans_two_sites(scheme, shift, k1):
    """The same twelve people are on both sites, so only the sites separate them."""
    if scheme == "infomap":
        pytest.importorskip("infomap", reason="the package infomap is not installed")
    rows, identity, camera = people(12, 5, 4, shift=shift)
    sites = camera // 2
    options = ClusterOptions(scheme=scheme, k1=k1, k2=2, eps=0.5, min_samples=2)
    labels = cluster(rows, camera, options, pytest.fail, 1.0, KnownPairs.of_sites(sites))
    assert same_partition(labels, identity * 2 + sites)
    assert set(labels) == set(range(labels.max() + 1))
    together = cluster(rows, camera, options, pytest.fail)
    assert any(len(set(sites[together == label])) == 2 for label in range(together.max() + 1))
    if scheme == "camera-link":
        assert same_partition(together, identity)


def test_with_one_cluster_or_none_eps_changes_with_a_message():
    rows, _, camera = people(3, 8, 1)
    told: list[str] = []
    labels = cluster(rows, camera, ClusterOptions(k1=24, k2=1, eps=0.98), told.append)
    assert labels.max() + 1 >= 2
    assert told
    assert "trying eps" in told[0]


def test_the_nearest_are_searched_once_however_often_eps_changes(monkeypatch):
    rows, _, camera = people(3, 8, 1)
    searches, told = [], []

    def counted(*asked):
        searches.append(asked)
        return nearest_crops(*asked)

    monkeypatch.setattr("training.hhcl.clustering.nearest_crops", counted)
    cluster(rows, camera, ClusterOptions(k1=24, k2=1, eps=0.98), told.append)
    assert told
    assert len(searches) == 1


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
