"""SCL's network and distances: stripes, unit lengths, and what one inner product means."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from service.errors import InvalidInput
from training.core.method_options import SclOptions
from training.core.stages import Stages
from training.hhcl.network import GhostBatchNorm2d
from training.scl.banks import Banks, SelectiveContrast
from training.scl.network import (
    Features,
    PartNetwork,
    build_part_network,
    camera_distances,
    part_distances,
    part_weights,
    stripe_windows,
)

SIZES = {"stripes": 3, "global_size": 12, "local_size": 4}


def bare_network(**changes) -> PartNetwork:
    """Branches on the picture's own three channels."""
    torch.manual_seed(0)
    return PartNetwork(Stages(nn.Sequential(nn.Identity()), 3, ()), SclOptions(**(SIZES | changes)))


def random_features(count: int, seed: int) -> Features:
    draw = torch.Generator().manual_seed(seed)
    whole, stripes = (
        nn.functional.normalize(torch.randn(*shape, generator=draw), dim=-1)
        for shape in ((count, 12), (count, 3, 4))
    )
    return Features(whole, stripes)


def embed(features: Features, options: SclOptions) -> np.ndarray:
    scales = np.sqrt(part_weights(options)).astype(np.float32)
    parts = [features.whole, *features.stripes.unbind(1)]
    return np.concatenate(
        [scale * part.numpy() for scale, part in zip(scales, parts, strict=True)], axis=1
    )


@pytest.mark.parametrize(("height", "stripes"), [(16, 8), (7, 3), (4, 8), (5, 5), (9, 1)])
def test_stripes_match_adaptive_pooling(height, stripes):
    rows = torch.rand(1, 1, height, 1)
    wanted = nn.functional.adaptive_avg_pool2d(rows, (stripes, 1)).flatten()
    windows = list(stripe_windows(height, stripes))
    found = torch.stack([rows.flatten()[window].mean() for window in windows])
    torch.testing.assert_close(found, wanted)


def test_a_stripe_sees_only_its_own_rows():
    network = bare_network().eval()
    images = torch.rand(2, 3, 9, 4)
    before = network.describe(images)
    images[:, :, 6:] += 1.0
    after = network.describe(images)
    torch.testing.assert_close(before.stripes[:, :2], after.stripes[:, :2])
    assert (before.stripes[:, 2] - after.stripes[:, 2]).abs().max() > 0.01
    assert (before.whole - after.whole).abs().max() > 0.01


@pytest.mark.parametrize("training", [True, False])
def test_everything_has_unit_length(training):
    network = build_part_network("resnet18", SclOptions(**SIZES), weights="none")
    network.train(training)
    images = torch.randn(4, 3, 64, 32)
    whole, stripes = network.describe(images)
    assert (whole.shape, stripes.shape) == ((4, 12), (4, 3, 4))
    embeddings = network(images)
    assert embeddings.shape == (4, network.dimension) == (4, 24)
    for rows in (whole, stripes.flatten(0, 1), embeddings):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))


def test_batch_statistics_cover_the_whole_batch():
    """Q6: ghost groups imitate HHCL's devices, so SCL's network has none."""
    network = build_part_network("resnet18", SclOptions(**SIZES), weights="none")
    assert not any(isinstance(module, GhostBatchNorm2d) for module in network.modules())
    branch = bare_network().whole
    rows = torch.randn(8, 3)
    mapped = branch[0](rows)
    wanted = (mapped - mapped.mean(0)) / (mapped.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(branch(rows), wanted)


def test_branches_are_initialised_as_published():
    linear, norm = build_part_network("resnet18", SclOptions(), weights="none").whole
    weight = linear.weight.detach()
    assert weight.shape == (2048, 512)
    assert float(weight.std()) == pytest.approx((2 / 2048) ** 0.5, rel=0.01)
    assert not linear.bias.any()
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()
    assert norm.bias.requires_grad


def test_sizes_that_the_mixture_bank_cannot_compare_are_rejected():
    with pytest.raises(InvalidInput, match="stripes x local_size = 18"):
        build_part_network(
            "resnet18", SclOptions(stripes=9, local_size=2, global_size=12), weights="none"
        )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_one_inner_product_gives_the_training_distance(share):
    options = SclOptions(**SIZES, global_weight=share, camera_weight=0.0, positives=2, negatives=2)
    ours, theirs = random_features(5, seed=1), random_features(9, seed=2)
    zeros = torch.zeros(9, dtype=torch.long)
    memory = SelectiveContrast(Banks.fill(theirs), zeros, zeros, options)
    cosines = embed(ours, options) @ embed(theirs, options).T
    found = memory.distances(torch.arange(5), ours).numpy()
    np.testing.assert_allclose(2 - 2 * cosines, found, atol=1e-5)
    by_hand = share * (ours.whole[:, None] - theirs.whole).square().sum(-1)
    local = (ours.stripes[:, None] - theirs.stripes).square().sum(-1).mean(-1)
    np.testing.assert_allclose(found, by_hand + (1 - share) * local, atol=1e-5)


def test_the_network_embeds_what_it_describes():
    network = bare_network(global_weight=0.3).eval()
    images = torch.rand(5, 3, 7, 4)
    with torch.no_grad():
        features, embeddings = network.describe(images), network(images)
    np.testing.assert_allclose(
        embeddings, embed(features, SclOptions(**SIZES, global_weight=0.3)), atol=1e-6
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_test_distance_is_not_squared(share):
    options = SclOptions(**SIZES, global_weight=share)
    query, gallery = random_features(5, seed=3), random_features(9, seed=4)
    wanted = share * (query.whole[:, None] - gallery.whole).norm(dim=-1)
    wanted += (1 - share) * (query.stripes[:, None] - gallery.stripes).norm(dim=-1).mean(-1)
    found = part_distances(embed(query, options), embed(gallery, options), options)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    squared = 1 - embed(query, options) @ embed(gallery, options).T
    ranks_differ = (found.argsort(axis=1) != squared.argsort(axis=1)).any()
    assert ranks_differ == (share < 1)  # with a single part, the root changes no rank


def test_the_camera_term_ranks_the_querys_camera_last():
    cameras = camera_distances(np.array([0, 1]), np.array([1, 0, 2]), 0.05)
    np.testing.assert_allclose(cameras, [[0, 0.05, 0], [0.05, 0, 0]])
