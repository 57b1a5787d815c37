"""ResNet-50-IBN-a: where instance normalisation is, what it computes, whose weights fit."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from service.errors import InvalidInput
from training.core.instance_norm import InstanceBatchNorm, use_instance_norm
from training.hhcl.network import GhostBatchNorm2d, build_network


def published_names() -> set[str]:
    """Names in the authors' file: torchvision's, with two normalisations at each replaced place."""
    names: set[str] = set()
    for name in ResNet(Bottleneck, [3, 4, 6, 3]).state_dict():
        match = re.fullmatch(r"(layer[123]\.\d+\.bn1)\.(\w+)", name)
        if not match:
            names.add(name)
            continue
        names.add(f"{match[1]}.BN.{match[2]}")
        if match[2] in {"weight", "bias"}:
            names.add(f"{match[1]}.IN.{match[2]}")
    return names


def test_half_of_the_channels_lose_their_own_style_and_half_keep_it():
    torch.manual_seed(0)
    maps = torch.randn(4, 6, 5, 3) * torch.rand(4, 6, 1, 1) + torch.randn(4, 6, 1, 1)
    layer = InstanceBatchNorm(6)
    found = layer(maps)
    own = maps[:, :3]
    deviation, mean = torch.std_mean(own, dim=(2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(found[:, :3], (own - mean) / deviation, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[:, 3:], nn.BatchNorm2d(3)(maps[:, 3:]))
    assert {name for name, _ in layer.named_parameters()} == {
        "IN.weight",
        "IN.bias",
        "BN.weight",
        "BN.bias",
    }


def test_an_odd_channel_is_normalised_over_the_batch():
    layer = InstanceBatchNorm(5)
    assert (layer.IN.num_features, layer.BN.num_features) == (2, 3)
    assert layer(torch.randn(2, 5, 4, 4)).shape == (2, 5, 4, 4)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file as the authors', with random tensors: their names, their classifier."""
    torch.manual_seed(3)
    resnet = ResNet(Bottleneck, [3, 4, 6, 3])
    use_instance_norm(resnet)
    state = resnet.state_dict()
    assert set(state) == published_names()
    for name, tensor in state.items():
        if ".bn1.IN." in name:
            nn.init.uniform_(tensor)
    file = tmp_path_factory.mktemp("weights") / "resnet50_ibn_a.pth"
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, file)
    return str(file)


def test_the_published_file_loads_and_every_batch_normalisation_is_in_groups(published):
    network = build_network("resnet50_ibn", weights=published, ghost_group=3)
    state = torch.load(published, weights_only=True)
    loaded = network.features.state_dict()
    for ours, theirs in (
        ("4.1.bn1.IN.weight", "layer1.1.bn1.IN.weight"),
        ("6.5.bn1.BN.running_mean", "layer3.5.bn1.BN.running_mean"),
        ("7.2.bn1.weight", "layer4.2.bn1.weight"),
    ):
        torch.testing.assert_close(loaded[ours], state[f"module.{theirs}"], rtol=0, atol=0)
    mixed = [each for each in network.modules() if isinstance(each, InstanceBatchNorm)]
    assert len(mixed) == 3 + 4 + 6
    assert all(type(each.BN) is GhostBatchNorm2d and each.BN.group == 3 for each in mixed)
    assert not any(isinstance(each, InstanceBatchNorm) for each in network.features[7].modules())


def test_the_last_stride_and_the_places_of_style_mixing_are_the_resnets():
    network = build_network("resnet50_ibn", weights="none", style_mixing=0.5).eval()
    with torch.no_grad():
        assert network.features(torch.randn(1, 3, 64, 32)).shape == (1, 2048, 4, 2)


def test_weights_of_a_plain_resnet_do_not_fit_and_there_is_no_download(tmp_path):
    torch.save(ResNet(Bottleneck, [3, 4, 6, 3]).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(InvalidInput, match=r"layer1\.0\.bn1\.IN\.weight"):
        build_network("resnet50_ibn", weights=str(tmp_path / "plain.pth"))
    with pytest.raises(InvalidInput, match=r"no weights of resnet50_ibn.*--weights FILE"):
        build_network("resnet50_ibn")


def test_a_ghost_group_is_a_replica_of_its_own():
    """Groups of 2 in a batch of 4 compute what two batches of 2 would."""
    torch.manual_seed(0)
    network = build_network("resnet50_ibn", weights="none", ghost_group=2)
    images = torch.randn(4, 3, 64, 32)
    with torch.no_grad():
        together = network.features(images)
        apart = torch.cat([network.features(part) for part in images.split(2)])
    torch.testing.assert_close(together, apart, rtol=1e-3, atol=1e-4)


def test_bfloat16_keeps_its_statistics_in_float32():
    torch.manual_seed(0)
    layer = InstanceBatchNorm(8)
    maps = torch.randn(4, 8, 16, 8) + 100
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(maps.bfloat16())
    assert layer.BN.running_mean.dtype == torch.float32
    expected = InstanceBatchNorm(8)(maps.bfloat16().float())
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)
