"""P x K batches and the camera rule."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from training.hhcl.sampler import identity_batches


def draw(labels, cameras, *, p=2, k=4, iterations=10, seed=0):
    return list(
        identity_batches(
            np.array(labels),
            np.array(cameras),
            clusters_per_batch=p,
            crops_per_cluster=k,
            iterations=iterations,
            rng=np.random.default_rng(seed),
        )
    )


def test_a_clusters_crops_are_contiguous_and_outliers_are_never_drawn():
    labels = np.array([0, 1, 2, -1] * 6)
    for batch in draw(labels, np.zeros(24), p=2, k=4):
        groups = labels[batch].reshape(2, 4)
        assert (groups == groups[:, :1]).all()
        assert (groups >= 0).all()
        assert groups[0, 0] != groups[1, 0]


def test_companions_come_from_cameras_other_than_the_anchors():
    labels, cameras = [0] * 12, np.array([0] * 6 + [1] * 6)
    for (batch,) in [draw(labels, cameras, p=1, k=4, iterations=1, seed=s) for s in range(20)]:
        anchor, *companions = cameras[batch]
        assert all(camera != anchor for camera in companions)
        assert len(set(batch)) == 4  # six candidates are enough to draw without repetition


def test_too_few_candidates_are_drawn_with_replacement():
    """Three candidates for K = 4: the released code compares with K and draws with replacement."""
    repeated = 0
    for seed in range(30):
        (batch,) = draw([0] * 4, [0, 1, 1, 1], p=1, k=4, iterations=1, seed=seed)
        repeated += len(set(batch[1:])) < 3
    assert repeated > 5


def test_with_one_camera_companions_come_from_the_rest_of_the_cluster():
    (batch,) = draw([0] * 5, [0] * 5, p=1, k=5, iterations=1)
    assert batch[0] not in batch[1:]


def test_a_single_crop_fills_its_group():
    (batch,) = draw([0, 1, 1], [0, 0, 0], p=2, k=3, iterations=1)
    assert len(batch) == 6


def test_each_pass_takes_every_cluster_once_and_drops_the_rest():
    labels = np.repeat(np.arange(5), 2)
    batches = draw(labels, np.zeros(10), p=2, k=2, iterations=2)
    seen = Counter(label for batch in batches for label in set(labels[batch]))
    assert max(seen.values()) == 1
    assert len(seen) == 4


def test_fewer_clusters_than_p_make_smaller_batches():
    batches = draw([0, 0, 1, 1], [0, 1, 0, 1], p=16, k=4, iterations=3)
    assert [len(batch) for batch in batches] == [8, 8, 8]


def test_every_pass_and_every_seed_shuffles_the_clusters():
    labels = np.repeat(np.arange(8), 2)
    orders = [
        [
            int(labels[batch[0]])
            for batch in draw(labels, np.zeros(16), p=1, k=2, iterations=16, seed=s)
        ]
        for s in range(3)
    ]
    passes = [tuple(order[start : start + 8]) for order in orders for start in (0, 8)]
    assert all(sorted(each) == list(range(8)) for each in passes)
    assert len(set(passes)) == 6


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_batches(seed):
    labels = np.repeat(np.arange(6), 4)
    cameras = np.tile([0, 1], 12)
    first, second = (draw(labels, cameras, seed=seed) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
