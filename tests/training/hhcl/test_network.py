"""Backbones, pooling, neck and ghost batch normalisation (vectors J and K)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.backbone import StyleMixing
from training.hhcl.network import EmbeddingNetwork, GemPooling, GhostBatchNorm2d, build_network


def test_vector_k_ghost_groups_and_running_statistics():
    ghost = GhostBatchNorm2d(1, group=2)
    out = ghost(torch.tensor([1.0, 3.0, 5.0, 9.0])[:, None, None, None])
    np.testing.assert_allclose(out.detach().ravel(), [-1, 1, -1, 1], atol=1e-5)
    assert ghost.running_mean.item() == pytest.approx(0.2)
    assert ghost.running_var.item() == pytest.approx(1.1)


def test_vector_k_plain_batch_when_it_is_one_group():
    ghost = GhostBatchNorm2d(1, group=64)
    out = ghost(torch.tensor([1.0, 3.0, 5.0, 9.0])[:, None, None, None])
    expected = [-1.183215, -0.507092, 0.169031, 1.521277]
    np.testing.assert_allclose(out.detach().ravel(), expected, atol=1e-5)


def test_ghost_groups_compute_what_separate_replicas_would():
    torch.manual_seed(0)
    images = torch.randn(12, 3, 5, 4)
    ghost, plain = GhostBatchNorm2d(3, group=4), torch.nn.BatchNorm2d(3)
    expected = torch.cat([plain(part) for part in images.split(4)])
    torch.testing.assert_close(ghost(images), expected)
    ghost.eval()
    torch.testing.assert_close(ghost(images[:1]), ghost(images)[:1])


@pytest.mark.parametrize("count", [5, 9])
def test_a_single_image_left_over_joins_the_group_before_it(count):
    """Alone it would have no batch statistics: zero features, or an error in the neck."""
    torch.manual_seed(0)
    images = torch.randn(count, 3, 1, 1)
    sizes = [4] * (count // 4 - 1) + [5]
    ghost, plain = GhostBatchNorm2d(3, group=4), torch.nn.BatchNorm2d(3)
    first, *others = images.split(sizes)
    expected = torch.cat([plain(first), *map(torch.nn.BatchNorm2d(3), others)])
    torch.testing.assert_close(ghost(images), expected)
    torch.testing.assert_close(ghost.running_mean, plain.running_mean)
    torch.testing.assert_close(ghost.running_var, plain.running_var)


@pytest.mark.parametrize(("count", "sizes"), [(6, [4, 2]), (8, [4, 4]), (11, [4, 4, 3])])
def test_a_larger_remainder_is_a_group_of_its_own(count, sizes):
    images = torch.arange(3.0 * count).reshape(count, 3, 1, 1) ** 2
    found = GhostBatchNorm2d(3, group=4)(images)
    expected = torch.cat([torch.nn.BatchNorm2d(3)(part) for part in images.split(sizes)])
    torch.testing.assert_close(found, expected)


def test_vector_j_gem():
    pooled = GemPooling()(torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2))
    assert pooled.item() == pytest.approx(2.924018, abs=1e-5)


def test_vector_j_neck_then_unit_length():
    features = torch.nn.Identity()
    network = EmbeddingNetwork(features, 2, "average")
    out = network(torch.tensor([[1.0, 2.0], [3.0, 6.0]])[:, :, None, None])
    np.testing.assert_allclose(
        out.detach(), [[-0.7071055, -0.7071081], [0.7071055, 0.7071081]], atol=1e-5
    )


@pytest.mark.parametrize(
    ("backbone", "last_stride", "dimension", "shape"),
    [
        ("resnet50", 1, 2048, (4, 2)),
        ("resnet18", 1, 512, (4, 2)),
        ("resnet18", 2, 512, (2, 1)),
        ("mobilenet_v2", 2, 1280, (2, 1)),
        ("mobilenet_v2", 1, 1280, (4, 2)),
    ],
)
def test_the_last_stage_has_the_requested_stride(backbone, last_stride, dimension, shape):
    network = build_network(backbone, weights="none", last_stride=last_stride).eval()
    images = torch.randn(2, 3, 64, 32)
    assert network.features(images).shape == (2, dimension, *shape)
    lengths = network(images).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))


def test_every_normalisation_uses_ghost_groups_and_the_necks_bias_is_frozen():
    network = build_network("mobilenet_v2", weights="none", ghost_group=32)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {norm.group for norm in norms} == {32}
    assert not network.neck.bias.requires_grad
    assert network.neck.weight.requires_grad


def styles(maps):
    """(N, 2C): each map's means and deviations."""
    deviation, mean = torch.std_mean(maps, dim=(2, 3))
    return torch.cat([mean, deviation], dim=1)


def textures(maps):
    deviation, mean = torch.std_mean(maps, dim=(2, 3), keepdim=True)
    return (maps - mean) / deviation


def maps_of_many_styles(count=12):
    torch.manual_seed(0)
    plain = torch.randn(count, 5, 6, 4)
    return plain * (0.5 + torch.rand(count, 5, 1, 1)) + torch.randn(count, 5, 1, 1)


def test_style_mixing_does_nothing_in_evaluation():
    maps = maps_of_many_styles()
    assert StyleMixing(1.0).eval()(maps) is maps
    torch.testing.assert_close(StyleMixing(0.0).train()(maps), maps, rtol=0, atol=0)


def test_a_mixed_style_blends_two_maps_of_the_batch():
    maps = maps_of_many_styles()
    mixed = StyleMixing(1.0).train()(maps)
    torch.testing.assert_close(textures(mixed), textures(maps), rtol=1e-3, atol=1e-4)
    before, after = styles(maps), styles(mixed)
    kept = []
    for own, new in zip(before, after, strict=True):
        towards = before - own  # (N, 2C): the direction of a blend with each other map
        share = (towards @ (new - own) / towards.square().sum(dim=1).clamp(min=1e-9)).clamp(0, 1)
        distance = (own + share[:, None] * towards - new).abs().amax(dim=1)
        assert distance.min() < 1e-3
        kept.append(1 - share[distance.argmin()].item())
    assert min(kept) < 0.5  # so the own style is not always the larger part


def test_probability_one_half_mixes_about_half_the_maps():
    maps = maps_of_many_styles(400)
    moved = (styles(StyleMixing(0.5).train()(maps)) - styles(maps)).abs().amax(dim=1) > 1e-3
    everything = (styles(StyleMixing(1.0).train()(maps)) - styles(maps)).abs().amax(dim=1) > 1e-3
    assert 0.35 < moved.sum() / everything.sum() < 0.65


def test_style_mixing_repeats_with_the_seed():
    maps, mixing = maps_of_many_styles(), StyleMixing(0.5).train()
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(mixing(maps))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_style_mixing_changes_only_training_and_adds_nothing_to_the_state(backbone):
    mixed = build_network(backbone, weights="none", style_mixing=1.0)
    plain = build_network(backbone, weights="none")
    plain.load_state_dict(mixed.state_dict())
    images = torch.randn(4, 3, 64, 32)
    torch.testing.assert_close(mixed.eval()(images), plain.eval()(images))
    assert not torch.allclose(mixed.train()(images), plain.train()(images), atol=1e-3)


def test_weights_file_round_trip_and_clear_errors(tmp_path):
    source = build_network("resnet18", weights="none")
    from torchvision import models

    state = models.resnet18(weights=None).state_dict()
    file = tmp_path / "start.pt"
    torch.save(state, file)
    loaded = build_network("resnet18", weights=str(file))
    torch.testing.assert_close(loaded.features[0].weight.data, state["conv1.weight"])
    torch.save({k: v for k, v in state.items() if k != "conv1.weight"}, file)
    with pytest.raises(InvalidInput, match=r"conv1\.weight"):
        build_network("resnet18", weights=str(file))
    file.write_bytes(b"not a state dict")
    with pytest.raises(InvalidInput, match="not a readable state dict"):
        build_network("resnet18", weights=str(file))
    assert source.dimension == 512


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="--weights FILE"):
        build_network("resnet18", weights="default")


def test_vector_start_weights_of_the_shipped_model(shared):
    build_network("mobilenet_v2", weights=str(shared / "weights/mobilenet_v2-imagenet1k.pth"))
