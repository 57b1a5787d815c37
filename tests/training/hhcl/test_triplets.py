"""The batch-hard triplet loss against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.method_options import MemoryOptions
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.memory import MemoryWithLoss
from training.hhcl.memories.triplets import BatchHardTriplets

LABELS = torch.tensor([0, 0, 1, 1])
CAMERAS = torch.tensor([0, 1, 0, 1])
# Unit vectors at 0, 60, 120 and 180 degrees: a chord is 2 sin(angle / 2).
ANGLES = torch.tensor([0.0, 60.0, 120.0, 180.0]).deg2rad()
CHORD = {60: 1.0, 120: math.sqrt(3), 180: 2.0}


def embeddings(angles=ANGLES):
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_the_farthest_positive_and_the_nearest_negative_count():
    # Positives are 60 degrees apart; the nearest negatives 120, 60, 60 and 120.
    nearest = [CHORD[120], CHORD[60], CHORD[60], CHORD[120]]
    expected = sum(max(0.0, CHORD[60] - near + 0.3) for near in nearest) / 4
    assert expected == pytest.approx(0.15)
    loss = BatchHardTriplets(margin=0.3).loss(embeddings(), LABELS, CAMERAS)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_margin_0_is_the_soft_margin():
    nearest = [CHORD[120], CHORD[60], CHORD[60], CHORD[120]]
    expected = sum(math.log1p(math.exp(CHORD[60] - near)) for near in nearest) / 4
    loss = BatchHardTriplets(margin=0).loss(embeddings(), LABELS, CAMERAS)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_only_clusters_that_the_camera_is_contrasted_with_are_negatives():
    seen_by = torch.tensor([[True, True], [True, False]])  # camera 1 is not told of cluster 1
    # Crop 1 has no negative and adds 0; crops 0, 2 and 3 keep theirs.
    nearest = [CHORD[120], CHORD[60], CHORD[120]]
    expected = sum(max(0.0, CHORD[60] - near + 1.5) for near in nearest) / 4
    loss = BatchHardTriplets(1.5, seen_by).loss(embeddings(), LABELS, CAMERAS)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("margin", [0, 0.3])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]])
def test_gradients_are_finite_even_for_equal_crops_and_single_clusters(margin, labels):
    angles = torch.zeros(4, requires_grad=True)
    loss = BatchHardTriplets(margin).loss(embeddings(angles), torch.tensor(labels), CAMERAS)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(angles.grad).all()


def test_the_gradient_is_that_of_finite_differences():
    angles = ANGLES.double().add(torch.tensor([0.1, 0.0, 0.2, 0.05])).requires_grad_()

    def loss(at):
        return BatchHardTriplets(0.8).loss(embeddings(at), LABELS, CAMERAS)

    assert torch.autograd.gradcheck(loss, angles)


@pytest.mark.parametrize("negatives", ["all", "same-camera"])
def test_the_memory_adds_the_weighted_loss_and_updates_as_before(negatives):
    random = np.random.default_rng(3)
    rows = random.normal(size=(12, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels, cameras = np.arange(12) % 3, np.arange(12) // 6
    clustered = ClusteredCrops(rows, labels, cameras)
    device = torch.device("cpu")

    def build(**options):
        settings = MemoryOptions(negatives=negatives, **options)
        return build_memory(clustered, settings, 4, random, device)

    plain, both = build(), build(triplet_weight=2.0, triplet_margin=0.5)
    assert isinstance(both, MemoryWithLoss)
    batch = tuple(torch.from_numpy(array) for array in (rows, labels, cameras))
    added = both.loss(*batch) - plain.loss(*batch)
    assert added.item() == pytest.approx(2 * both.other.loss(*batch).item(), abs=1e-5)
    assert both.other.margin == 0.5
    for memory in (plain, both):
        memory.update(batch[0], batch[1])
    torch.testing.assert_close(plain.hard, both.memory.hard, rtol=0, atol=0)
