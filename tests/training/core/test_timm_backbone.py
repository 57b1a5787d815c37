"""Networks of timm train as ours do: same maps, same pixels, same options, or a clear refusal."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
timm = pytest.importorskip("timm", reason="the extra timm is not installed")

from service.errors import InvalidInput
from training.core.backbone import PartlyFrozen, style_of
from training.core.config import read_config
from training.core.stages import Stages
from training.core.timm_backbone import build_timm_stages
from training.core.transforms import normalise
from training.hhcl.network import GhostBatchNorm2d, build_network
from training.networks.building import new_network

# A plain ResNet, activations inside normalisations, squeeze and excitation, no batch normalisation.
NAMES = ["test_resnet", "test_efficientnet", "mobilenetv3_small_050", "test_convnext"]


def theirs_of(name: str) -> torch.nn.Module:
    """timm's own network without a head, whose normalisations have seen something."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, global_pool="")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                torch.nn.init.normal_(tensor)
    return network


def crops_of(count: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, 256, (count, 64, 32, 3), dtype=torch.uint8)


def prepared_by_timm(crops: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    """As timm's own transform: 0..1, minus the network's mean, divided by its deviation."""
    known = network.pretrained_cfg
    pixels = crops.permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(known[name])[:, None, None] for name in ("mean", "std"))
    return (pixels - mean) / std


def stages(name: str, **changes: object) -> Stages:
    return build_timm_stages(f"timm/{name}", **{"weights": "none", "last_stride": 2} | changes)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_weights_from_a_file_compute_what_timm_computes(name, training, tmp_path):
    theirs = theirs_of(name)
    torch.save(theirs.state_dict(), tmp_path / "start.pth")
    ours = build_network(f"timm/{name}", weights=str(tmp_path / "start.pth"), last_stride=2)
    assert ours.training
    ours.train(training)
    theirs.train(training)
    crops = crops_of(4)
    with torch.no_grad():
        expected = theirs.forward_features(prepared_by_timm(crops, theirs))
        found = ours.features(normalise(crops))
    assert found.shape == (4, ours.dimension, 2, 1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_every_batch_normalisation_uses_ghost_groups():
    network = build_network("timm/test_efficientnet", weights="none", last_stride=2, ghost_group=3)
    norms = [each for each in network.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    theirs = timm.create_model("test_efficientnet").modules()
    assert len(norms) == 1 + sum(isinstance(each, torch.nn.BatchNorm2d) for each in theirs)
    assert all(type(each) is GhostBatchNorm2d and each.group == 3 for each in norms)


def test_a_checkpoint_keeps_the_pixels_that_its_network_was_trained_with():
    """A later release of timm may state another mean for the same name."""
    state = stages("test_resnet").features.state_dict()
    assert {"0.0.factor", "0.0.shift"} <= set(state)
    assert not any("factor" in name for name in stages("test_efficientnet").features.state_dict())


def test_weights_from_safetensors_and_from_a_training_script(tmp_path):
    theirs = theirs_of("test_resnet")
    tensors = theirs.state_dict() | {"fc.weight": torch.zeros(7, 96), "fc.bias": torch.zeros(7)}
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(tensors, tmp_path / "theirs.safetensors")
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "theirs.pth")
    for file in ("theirs.safetensors", "theirs.pth"):
        features = stages("test_resnet", weights=str(tmp_path / file)).features
        loaded = features[0][1].state_dict()
        torch.testing.assert_close(loaded["0.weight"], tensors["conv1.0.weight"], rtol=0, atol=0)


def test_a_file_that_does_not_fit_names_the_tensors(tmp_path):
    state = theirs_of("test_resnet").state_dict()
    del state["layer2.0.conv1.weight"]
    torch.save(state | {"layer9.weight": torch.zeros(1)}, tmp_path / "start.pth")
    with pytest.raises(InvalidInput, match=r"layer2\.0\.conv1\.weight .*1 are unknown \(layer9"):
        stages("test_resnet", weights=str(tmp_path / "start.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InvalidInput, match="tensors by name are expected"):
        stages("test_resnet", weights=str(tmp_path / "list.pth"))
    (tmp_path / "no.safetensors").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="not a readable state dict"):
        stages("test_resnet", weights=str(tmp_path / "no.safetensors"))


@pytest.mark.parametrize("name", ["test_efficientnet", "mobilenetv3_small_050"])
def test_a_last_stride_of_one_doubles_the_map_and_keeps_the_weights(name):
    small, large = stages(name), stages(name, last_stride=1)
    large.features.load_state_dict(small.features.state_dict())
    images = torch.randn(1, 3, 64, 32)
    assert small.features.eval()(images).shape[2:] == (2, 1)
    assert large.features.eval()(images).shape[2:] == (4, 2)


def test_a_stage_that_is_halved_by_something_else_refuses_a_last_stride_of_one():
    with pytest.raises(InvalidInput, match=r"test_convnext.*model\.last_stride must be 2"):
        stages("test_convnext", last_stride=1)


def test_stages_are_counted_and_mixed_as_those_of_torchvisions_resnet():
    built = stages("resnet18")
    assert (len(built.features), built.dimension, built.mix_after) == (8, 512, (4, 5))
    assert style_of(built, 0.5).chance == 0.5
    assert style_of(built, 0.0) is None


@pytest.mark.parametrize("method", ["hhcl", "scl"])
def test_frozen_stages_and_style_mixing_of_a_timm_network(method):
    changes = {"model.weights": "w.pt", "model.frozen_stages": 3, "augment.style_mixing": 1.0}
    config = read_config(
        None,
        {"method": method, "model.backbone": "timm/test_efficientnet", "model.last_stride": 2}
        | changes,
    )
    network = new_network(config, weights="none")
    frozen = [each for each in network.features.parameters() if not each.requires_grad]
    assert frozen
    assert len(frozen) < len(list(network.features.parameters()))
    images = normalise(crops_of(4))
    plain = network.features(images)
    assert not torch.allclose(network(images), network(images))  # mixed at random in training
    assert plain.shape[1] == 256
    torch.testing.assert_close(network.eval()(images), network(images))


@pytest.fixture(scope="module")
def undivided() -> Stages:
    """HRNet's branches run side by side."""
    return stages("hrnet_w18_small")


def test_a_network_of_branches_is_one_stage(undivided):
    images = torch.randn(1, 3, 64, 32)
    assert undivided.features.eval()(images).shape == (1, 2048, 2, 1)
    with pytest.raises(InvalidInput, match=r"augment\.style_mixing = 0\.5.*must be 0"):
        style_of(undivided, 0.5)
    with pytest.raises(InvalidInput, match=r"model\.frozen_stages = 1.*must be 0"):
        PartlyFrozen(undivided.features, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_vit", r"last map is \(1, 129, 64\), must be \(N, D, h, w\) with D = 64"),
        ("test_mambaout", r"last map is \(1, 8, 4, 64\), must be \(N, D, h, w\)"),
        ("vit_tiny_patch16_224", r"does not run on a crop of 256 x 128"),
        ("no_such_network", r"no_such_network: Unknown model"),
        ("resnet18.no_such_tag", r"no_such_tag"),
    ],
)
def test_an_unsuitable_network_is_refused_by_name(name, message):
    with pytest.raises(InvalidInput, match=rf"timm/{name}.*{message}|{message}.*{name}"):
        stages(name)


@pytest.mark.parametrize("name", ["timm/", "timm/hf-hub:a/b", "timm/../x", "vgg16", "timm/a b"])
def test_other_names_are_refused_before_anything_is_built(name):
    with pytest.raises(InvalidInput, match=r"model\.backbone = .*timm/"):
        read_config(None, {"model.backbone": name})


def test_without_timm_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InvalidInput, match=r"timm/test_resnet needs the extra timm.*\[training,ti"):
        stages("test_resnet")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(InvalidInput, match="safetensors needs the extra timm"):
        build_network("resnet18", weights=str(tmp_path / "w.safetensors"))


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"timm/test_resnet.*--weights FILE"):
        stages("test_resnet", weights="default")
    with pytest.raises(InvalidInput, match=r"lite1: No pretrained.*--weights FILE"):
        stages("efficientnet_lite1", weights="default")
