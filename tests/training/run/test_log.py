"""What the log says about an epoch's pseudo-labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from training.data.datasets import Sample
from training.run.log import describe_clusters


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
