"""What the log says about an epoch's pseudo-labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from training.data.datasets import Sample
from training.run.clusters import Clusters, describe_clusters
from training.run.log import EpochMetrics


def samples(identities: list[int], cameras: list[int]) -> list[Sample]:
    return [Sample(Path("crop.jpg"), *pair) for pair in zip(identities, cameras, strict=True)]


def test_clusters_are_counted_and_compared_with_identities():
    described = describe_clusters(
        np.array([0, 0, 1, 1, -1]), samples([7, 7, 8, 8, 8], [0, 1, 0, 0, 1])
    )
    assert (described.clusters, described.crossing) == (2, 0.5)
    assert described.outliers == pytest.approx(0.2)
    assert described.nmi == pytest.approx(1.0)
    assert described.ari == pytest.approx(1.0)


def test_unknown_identities_are_not_compared_and_there_may_be_no_cluster():
    described = describe_clusters(np.array([0, 0, 1]), samples([-1, 3, 3], [0, 0, 1]))
    assert (described.nmi, described.ari, described.crossing) == (None, None, 0.0)
    nothing = describe_clusters(np.array([-1, -1]), samples([1, 2], [0, 1]))
    assert (nothing.clusters, nothing.outliers, nothing.crossing) == (0, 1.0, 0.0)


def test_pairs_across_cameras_are_counted_by_hand():
    # Cluster 0 joins person 7 across cameras and wrongly a crop of 8; person 9 is not joined.
    described = describe_clusters(
        np.array([0, 0, 0, 1, 2, 3, -1]),
        samples([7, 7, 8, 8, 9, 9, 7], [0, 1, 1, 0, 0, 1, 1]),
    )
    across = described.across
    assert across is not None
    assert across.precision == pytest.approx(1 / 2)  # (7, 7) right, (7, 8) wrong; 0 and 1 only
    assert across.recall == pytest.approx(1 / 4)  # of (7, 7) twice, (8, 8), (9, 9)
    assert across.partner is None


def test_partners_are_looked_for_where_embeddings_are_given():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(20), 4)
    rows = rng.normal(size=(20, 16))[people] + 0.1 * rng.normal(size=(80, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    seen = samples(people.tolist(), [0, 0, 1, 1] * 20)
    described = describe_clusters(people * 2 + np.tile([0, 0, 1, 1], 20), seen, rows)
    assert described.across is not None
    assert (described.across.precision, described.across.recall) == (None, 0.0)
    assert described.across.partner == {"1": 1.0, "3": 1.0, "5": 1.0, "10": 1.0}
    assert "precision none recall 0.0% partner@5 100.0%" in described.across.line()


def test_nobody_in_two_cameras_is_nothing_to_look_for():
    assert describe_clusters(np.array([0, 0, 1]), samples([1, 1, 2], [0, 0, 1])).across is None
    assert describe_clusters(np.array([0, 0]), samples([-1, -1], [0, 1])).across is None


def test_descriptions_survive_the_log_and_old_lines_are_read():
    described = describe_clusters(np.array([0, 0]), samples([1, 1], [0, 1]))
    metrics = EpochMetrics(1, 0.5, 1e-3, described)
    assert EpochMetrics.parse(asdict(metrics)) == metrics
    assert "across cameras: precision 100.0% recall 100.0%" in metrics.line(2)
    old = {"clusters": 3, "outliers": 0.1, "crossing": 0.5, "nmi": 0.9, "ari": 0.4}
    assert Clusters.parse(old).across is None
