"""The clustering fits itself to the crops: few or many per person, without labels."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

from service.errors import InvalidInput
from service.identities.dbscan import find_dense
from service.search.kreciprocal import jaccard_distance
from training.adapt.fitting import (
    Asked,
    choose_cameras,
    fit_clustering,
    keep_fit,
    kept_fit,
    silhouettes,
)
from training.core.method_options import ClusterOptions
from training.data.known_pairs import KnownPairs
from training.hhcl.clustering import cluster


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def site(crops, *, people=60, cameras=2, noise=0.6, seed=0):
    """Embeddings, cameras and identities: so many crops per person and camera."""
    rng = np.random.default_rng(seed)
    person = np.tile(np.repeat(np.arange(people), crops), cameras)
    camera = np.repeat(np.arange(cameras), people * crops)
    rows = unit(rng.normal(size=(people, 64)))[person]
    shift = unit(rng.normal(size=(cameras, 64)))[camera]
    spread = noise * unit(rng.normal(size=rows.shape))
    return unit(rows + 0.5 * shift + spread), camera, person


def pairwise_f1(labels, truth):
    alone = labels.max() + 1 + np.arange(len(labels))
    found = np.where(labels >= 0, labels, alone)
    same, right = found[:, None] == found, truth[:, None] == truth
    np.fill_diagonal(same, val=False)
    np.fill_diagonal(right, val=False)
    return 2 * (same & right).sum() / (same.sum() + right.sum())


def agreement(embeddings, cameras, identities, options):
    labels = cluster(embeddings, cameras, options, print, known=KnownPairs.of_sites(cameras))
    return pairwise_f1(labels, cameras * 1000 + identities)


@pytest.mark.parametrize("crops", [2, 4, 8, 24])
def test_the_clusters_are_people_however_many_crops_they_have(crops):
    embeddings, cameras, identities = site(crops, people=120 // crops + 20)
    fit = fit_clustering(embeddings, cameras, Asked())
    fitted = fit.apply(ClusterOptions())
    assert agreement(embeddings, cameras, identities, fitted) > 0.9
    assert fit.clusters == pytest.approx(len(np.unique(cameras * 1000 + identities)), rel=0.2)


def test_the_rule_for_many_crops_per_person_fails_on_two():
    """What the fit is for: the neighbourhoods that were always used merge people here."""
    embeddings, cameras, identities = site(2)
    always = ClusterOptions(k1=12, k2=3, eps=0.45, min_samples=2)
    assert agreement(embeddings, cameras, identities, always) < 0.5


def test_many_cameras_are_fitted_together():
    embeddings, cameras, identities = site(3, people=25, cameras=9)
    fit = fit_clustering(embeddings, cameras, Asked())
    assert fit.crops == len(embeddings)
    assert agreement(embeddings, cameras, identities, fit.apply(ClusterOptions())) > 0.9


def test_silhouettes_equal_those_of_scikit_learn():
    embeddings, _, identities = site(3, people=9, cameras=1, noise=1.5)
    labels = identities.copy()
    labels[:2] = [9, 10]  # alone in their clusters, so one crop of theirs is left
    rows = np.arange(len(labels))
    expected = sklearn_metrics.silhouette_samples(embeddings, labels, metric="cosine")
    assert silhouettes(embeddings, labels, rows) == pytest.approx(expected, abs=1e-5)
    assert silhouettes(embeddings, labels, rows[3::2]) == pytest.approx(expected[3::2], abs=1e-5)


def test_outliers_rate_nothing_and_belong_to_no_cluster():
    embeddings, _, labels = site(4, people=5, cameras=1)
    out = labels.copy()
    out[labels == 4] = -1
    found = silhouettes(embeddings, out, np.arange(len(out)))
    assert (found[labels == 4] == 0).all()
    inside = labels < 4
    expected = sklearn_metrics.silhouette_samples(
        embeddings[inside], labels[inside], metric="cosine"
    )
    assert found[inside] == pytest.approx(expected, abs=1e-5)
    assert (silhouettes(embeddings, np.zeros_like(out), np.arange(3)) == 0).all()


def test_without_structure_there_are_clusters_nevertheless():
    noise = unit(np.random.default_rng(5).normal(size=(80, 64)))
    fit = fit_clustering(noise, np.zeros(80, np.int64), Asked())
    assert fit.clusters >= 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(k1=5), {"k1": 5, "k2": 1, "min_samples": 2}),
        (Asked(k1=50, eps=0.35), {"k1": 50, "k2": 6, "min_samples": 4, "eps": 0.35}),
        (Asked(k2=4, min_samples=3), {"k2": 4, "min_samples": 3}),
        (Asked(9, 2, 0.5, 2), {"k1": 9, "k2": 2, "eps": 0.5, "min_samples": 2}),
    ],
)
def test_what_is_asked_for_is_not_fitted(asked, expected):
    embeddings, cameras, _ = site(4, people=20)
    fit = fit_clustering(embeddings, cameras, asked)
    assert {name: getattr(fit, name) for name in expected} == expected


def test_the_silhouette_told_is_that_of_the_clusters_in_use():
    embeddings, cameras, _ = site(4, people=20, cameras=1)
    fit = fit_clustering(embeddings, cameras, Asked())
    distance = jaccard_distance(embeddings, k1=fit.k1, k2=fit.k2)
    labels = find_dense(distance, fit.eps, fit.min_samples)
    assert (fit.clusters, fit.outliers) == (labels.max() + 1, (labels < 0).mean())
    assert f"{fit.clusters} clusters" in str(fit)
    assert f"k1 {fit.k1}, " in str(fit)


def test_whole_cameras_are_fitted_until_there_are_enough_crops(monkeypatch):
    monkeypatch.setattr("training.adapt.fitting._FITTED", 25)
    cameras = np.repeat(np.arange(5), 10)
    chosen = choose_cameras(cameras, seed=1)
    assert np.unique(cameras[chosen], return_counts=True)[1].tolist() == [10, 10, 10]
    assert choose_cameras(np.zeros(99, np.int64), seed=1).tolist() == list(range(99))
    monkeypatch.undo()
    assert choose_cameras(cameras, seed=1).tolist() == list(range(50))


def test_a_kept_fit_is_read_back_for_the_same_wish(tmp_path):
    embeddings, cameras, _ = site(4, people=20)
    fit = fit_clustering(embeddings, cameras, Asked(eps=0.4))
    assert kept_fit(tmp_path, Asked(eps=0.4)) is None
    keep_fit(tmp_path, Asked(eps=0.4), fit)
    assert kept_fit(tmp_path, Asked(eps=0.4)) == fit
    with pytest.raises(InvalidInput, match=r"started with k1 auto, k2 auto, eps 0\.4, min_samples"):
        kept_fit(tmp_path, Asked())


def test_rounds_that_were_judged_without_a_fit_are_not_continued(tmp_path):
    (tmp_path / "ways").mkdir()
    with pytest.raises(InvalidInput, match="earlier release started it"):
        kept_fit(tmp_path, Asked())
