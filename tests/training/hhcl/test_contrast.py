"""Smoothing, camera weights, masks and proxies (vectors D and J, and loops over single crops)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.method_options import MemoryOptions
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.contrast import Contrast, camera_entropy_weights
from training.hhcl.memories.proxies import CameraProxies

PROXIES = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
PROXY_CLUSTERS = [0, 0, 1, 1]
PROXY_CAMERAS = [0, 1, 0, 1]


def smoothed(logits, label):
    contrast = Contrast(temperature=1.0, smoothing=True)
    camera = torch.tensor([0])
    return contrast.loss(torch.tensor([logits]), torch.tensor([label]), camera).item()


def test_vector_d_few_clusters_share_the_smoothed_mass_evenly():
    assert smoothed([2.0, 1.0, 0.0, -1.0], 1) == pytest.approx(1.490189698561195, abs=1e-5)


def test_vector_d_many_clusters_give_it_to_the_highest_scoring_fiftieth():
    logits = [0.0] * 100
    logits[3], logits[7] = 2.0, 1.0
    assert smoothed(logits, 7) == pytest.approx(3.6331246032607805, abs=1e-5)


def test_one_highest_scoring_cluster_alone_is_not_enough():
    """A fiftieth of 99 clusters is one cluster, so all of them share."""
    logits = torch.zeros(99)
    logits[3] = 2.0
    log_p = logits.log_softmax(0)
    assert smoothed(logits.tolist(), 3) == pytest.approx(
        -(0.9 * log_p[3] + 0.1 * log_p.mean()).item(), abs=1e-5
    )


def test_vector_j_clusters_on_more_cameras_weigh_more():
    labels = torch.tensor([5, 9, 5, 9, 5, 9, 5, 9])
    cameras = torch.tensor([0, 1, 2, 1, 0, 1, 2, 1])
    weights = camera_entropy_weights(labels, cameras)
    expected = [1.4621171572600098, 0.5378828427399902] * 4
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_equal_camera_entropies_give_equal_weights():
    similarities = torch.tensor([[0.9, 0.1], [0.2, 0.3]])
    arguments = similarities, torch.tensor([0, 1]), torch.tensor([0, 1])
    plain = Contrast().loss(*arguments)
    torch.testing.assert_close(Contrast(camera_entropy=True).loss(*arguments), plain)


def test_smoothing_weights_and_mask_together_are_the_formula_crop_by_crop():
    rng = np.random.default_rng(8)
    similarities, labels = rng.uniform(-1, 1, (12, 260)), rng.integers(0, 260, 3).repeat(4)
    cameras = rng.integers(0, 3, 12)
    cameras[:4] = 2
    seen_by = rng.random((260, 3)) < [0.7, 0.5, 0.3]  # about 180, 130 and 80 clusters
    seen_by[labels, cameras] = True
    expected = [
        -loss_of_crop(row[seen_by[:, camera]] / 0.05, int(seen_by[:label, camera].sum()))
        for row, label, camera in zip(similarities, labels, cameras, strict=True)
    ]
    weights = camera_entropy_weights(torch.from_numpy(labels), torch.from_numpy(cameras)).numpy()
    contrast = Contrast(0.05, torch.from_numpy(seen_by), smoothing=True, camera_entropy=True)
    arguments = (torch.from_numpy(array) for array in (similarities, labels, cameras))
    assert weights.std() > 0.1
    assert contrast.loss(*arguments).item() == pytest.approx((weights * expected).mean(), abs=1e-5)


def loss_of_crop(logits, own):
    log_p = logits - np.log(np.exp(logits).sum())
    most = len(logits) // 50
    chosen = np.argsort(-logits)[:most] if most > 1 else np.arange(len(logits))
    return 0.9 * log_p[own] + 0.1 * log_p[chosen].mean()


def proxies(**options) -> CameraProxies:
    rows = torch.tensor(PROXIES, dtype=torch.float64)
    return CameraProxies(rows, torch.tensor(PROXY_CLUSTERS), torch.tensor(PROXY_CAMERAS), **options)


def crop(cluster=0, camera=0):
    embedding = torch.tensor([[0.96, 0.28]], dtype=torch.float64, requires_grad=True)
    return embedding, torch.tensor([cluster]), torch.tensor([camera])


def test_vector_j_inter_camera_loss():
    assert proxies().loss(*crop()).item() == pytest.approx(0.13398797878090107, abs=1e-5)


def test_only_the_hardest_negative_proxies_count():
    """The nearest negative is proxy 3, so proxy 2 drops out of the softmax."""
    logits = torch.tensor([0.96 * 0.8 + 0.28 * 0.6, 0.96 * 0.6 + 0.28 * 0.8]) / 0.07
    expected = -logits.log_softmax(0)[0].item()
    assert proxies(negatives=1).loss(*crop()).item() == pytest.approx(expected, abs=1e-5)


def test_two_positives_are_averaged_and_the_same_camera_gives_none():
    rows = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    made = CameraProxies(rows, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0]), 0.5)
    embedding, labels, cameras = crop()
    logits = (rows @ embedding[0].detach() / 0.5)[[1, 2, 3]]
    expected = -logits.log_softmax(0)[:2].mean().item()
    assert made.loss(embedding, labels, cameras).item() == pytest.approx(expected, abs=1e-9)


def test_same_camera_proxies_exclude_clusters_the_camera_never_saw():
    """Camera 0 never saw cluster 1, so only the positive remains in the softmax of its crop."""
    masked = proxies(seen_by=torch.tensor([[True, True], [False, True]]))
    assert masked.loss(*crop(camera=0)).item() == pytest.approx(0.0, abs=1e-9)
    plain = proxies().loss(*crop(camera=1)).item()
    assert plain > 0
    assert masked.loss(*crop(camera=1)).item() == pytest.approx(plain)


def test_a_crop_whose_cluster_no_other_camera_saw_adds_nothing():
    made = proxies()
    lonely = CameraProxies(made.rows[:3], made.clusters[:3], made.cameras[:3])
    embedding, labels, cameras = crop(cluster=1)
    loss = lonely.loss(embedding, labels, cameras)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad.abs().sum() == 0
    two = torch.cat([embedding, embedding]).detach()
    both = lonely.loss(two, torch.tensor([0, 1]), torch.tensor([0, 0]))
    one = lonely.loss(two[:1], torch.tensor([0]), torch.tensor([0]))
    assert both.item() == pytest.approx(one.item() / 2)


def test_proxies_are_the_unit_means_of_cluster_and_camera():
    embeddings = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1], [1, 0]], np.float32)
    crops = ClusteredCrops(embeddings, np.array([0, 0, 0, 1, -1]), np.array([2, 2, 0, 2, 1]))
    options = MemoryOptions(proxy_weight=1.0, proxy_temperature=0.1, proxy_negatives=7)
    made = build_memory(crops, options, 2, np.random.default_rng(0), torch.device("cpu")).other
    assert made.clusters.tolist() == [0, 0, 1]
    assert made.cameras.tolist() == [0, 2, 2]
    np.testing.assert_allclose(made.rows, [[0.6, 0.8], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-6)
    assert (made.temperature, made.negatives) == (0.1, 7)
