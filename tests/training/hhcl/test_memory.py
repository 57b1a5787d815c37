"""The hybrid memory, and what an epoch's memory is built from (vector A, hand-computed)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.method_options import MemoryOptions
from training.hhcl.memories.building import ClusteredCrops, build_memory, centroids, seen_by_cameras
from training.hhcl.memories.contrast import Contrast
from training.hhcl.memories.prototypes import HybridMemory

EMBEDDINGS = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
LABELS = [0, 0, 1, 1]
HARD = [[0.96, 0.28], [0.28, 0.96]]
MEAN = [[0.8, 0.6], [0.0, 1.0]]
CAMERAS = [0, 0, 0, 0]


def memory(temperature=0.05, seen_by=None, **options) -> HybridMemory:
    contrast = Contrast(temperature, seen_by)
    made = HybridMemory(torch.eye(2, dtype=torch.float64), contrast, **options)
    made.hard = torch.tensor(HARD, dtype=torch.float64)
    made.mean = torch.tensor(MEAN, dtype=torch.float64)
    return made


def batch():
    embeddings = torch.tensor(EMBEDDINGS, dtype=torch.float64, requires_grad=True)
    return embeddings, torch.tensor(LABELS), torch.tensor(CAMERAS)


@pytest.mark.parametrize(
    ("temperature", "weighting", "expected"),
    [
        (0.5, "released", 0.3107058975956985),
        (0.5, "convex", 0.4227055857184465),
        (0.05, "released", 0.21848828319724034),
        (0.05, "convex", 0.421027299349952),
    ],
)
def test_vector_a_loss(temperature, weighting, expected):
    loss = memory(temperature, weighting=weighting).loss(*batch())
    assert loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (
            0.5,
            [
                [-0.05151901, 0.04311993],
                [-0.10451330, 0.08901202],
                [0.06572340, -0.05022213],
                [0.13144317, -0.10247696],
            ],
        ),
        (
            0.05,
            [
                [-2.2213742e-06, 2.1651066e-06],
                [-0.10540124, 0.10523357],
                [3.3745947e-04, -1.6978390e-04],
                [1.0659002, -0.5854830],
            ],
        ),
    ],
)
def test_vector_a_gradient(temperature, expected):
    embeddings, labels, cameras = batch()
    memory(temperature).loss(embeddings, labels, cameras).backward()
    np.testing.assert_allclose(embeddings.grad.numpy(), expected, atol=1e-5)


def test_vector_a_update():
    rows = memory()
    rows.update(torch.tensor(EMBEDDINGS, dtype=torch.float64), torch.tensor(LABELS))
    np.testing.assert_allclose(rows.hard, [[0.820741, 0.571300], [0.571300, 0.820741]], atol=1e-5)
    np.testing.assert_allclose(rows.mean, [[0.937622, 0.347657], [0.284447, 0.958692]], atol=1e-5)


def test_loss_changes_nothing_and_update_only_the_clusters_in_the_batch():
    rows = memory()
    rows.loss(*batch()).backward()
    assert rows.hard.tolist() == HARD
    assert rows.mean.tolist() == MEAN
    rows.update(torch.tensor(EMBEDDINGS[:2], dtype=torch.float64), torch.tensor(LABELS[:2]))
    assert rows.hard[1].tolist() == HARD[1]
    assert rows.mean[1].tolist() == MEAN[1]


def test_both_prototypes_start_as_the_unit_centroid():
    made = HybridMemory(torch.tensor([[3.0, 4.0]]), Contrast())
    np.testing.assert_allclose(made.hard, [[0.6, 0.8]])
    np.testing.assert_allclose(made.mean, [[0.6, 0.8]])
    assert made.hard.data_ptr() != made.mean.data_ptr()


def test_same_camera_negatives_exclude_clusters_the_camera_never_saw():
    """Only camera 1 saw cluster 1, so a crop of camera 0 has no negative."""
    rows = memory(seen_by=torch.tensor([[True, True], [False, True]]))
    embeddings, labels, _ = batch()
    from_camera_0 = rows.loss(embeddings[:2], labels[:2], torch.tensor([0, 0]))
    assert from_camera_0.item() == pytest.approx(0.0, abs=1e-9)
    from_camera_1 = rows.loss(embeddings[:2], labels[:2], torch.tensor([1, 1]))
    assert from_camera_1.item() == pytest.approx(
        memory().loss(embeddings[:2], labels[:2], torch.tensor([0, 0])).item()
    )


def test_centroids_and_cameras_ignore_outliers():
    embeddings = np.array([[1, 0], [0, 1], [9, 9], [0, 1]], np.float32)
    labels = np.array([0, 0, -1, 1])
    np.testing.assert_allclose(centroids(embeddings, labels), [[0.5, 0.5], [0, 1]])
    seen = seen_by_cameras(labels, np.array([0, 1, 1, 0]))
    assert seen.tolist() == [[True, True], [True, False]]


def test_the_default_is_the_released_recipe_and_draws_nothing():
    crops = ClusteredCrops(np.array(EMBEDDINGS, np.float32), np.array(LABELS), np.array(CAMERAS))
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    made = build_memory(crops, MemoryOptions(), 2, rng, torch.device("cpu"))
    assert isinstance(made, HybridMemory)
    assert rng.bit_generator.state == before
    embeddings, labels, cameras = (t.float() if t.is_floating_point() else t for t in batch())
    logits = embeddings @ made.hard.T / 0.05
    cross_entropy = torch.nn.functional.cross_entropy(logits, labels)
    expected = 0.5 * (cross_entropy + 0.5 * cross_entropy)
    assert torch.equal(made.loss(embeddings, labels, cameras), expected)
