"""Backbones, pooling, neck and ghost batch normalisation (vectors J and K)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.network import (
    EmbeddingNetwork,
    GemPooling,
    GhostBatchNorm2d,
    build_network,
)


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


def test_ghost_groups_are_what_separate_replicas_compute():
    torch.manual_seed(0)
    images = torch.randn(12, 3, 5, 4)
    ghost, plain = GhostBatchNorm2d(3, group=4), torch.nn.BatchNorm2d(3)
    expected = torch.cat([plain(part) for part in images.split(4)])
    torch.testing.assert_close(ghost(images), expected)
    ghost.eval()
    torch.testing.assert_close(ghost(images[:1]), ghost(images)[:1])


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
def test_backbones_keep_the_last_stage_as_asked(backbone, last_stride, dimension, shape):
    network = build_network(backbone, weights="none", last_stride=last_stride).eval()
    images = torch.randn(2, 3, 64, 32)
    assert network.features(images).shape == (2, dimension, *shape)
    lengths = network(images).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2))


def test_every_normalisation_is_ghostly_and_the_neck_has_no_bias_to_learn():
    network = build_network("mobilenet_v2", weights="none", ghost_group=32)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 53
    assert {norm.group for norm in norms} == {32}
    assert not network.neck.bias.requires_grad
    assert network.neck.weight.requires_grad


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


def test_a_failed_download_names_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="--weights FILE"):
        build_network("resnet18", weights="default")


def test_vector_start_weights_of_the_shipped_model(shared):
    build_network("mobilenet_v2", weights=str(shared / "weights/mobilenet_v2-imagenet1k.pth"))
