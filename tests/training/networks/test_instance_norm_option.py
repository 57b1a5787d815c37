"""``model.instance_norm``: where it is, what stays of the start weights, what is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from service.errors import InvalidInput
from training.core.checkpoint import Checkpoint
from training.core.config import TrainConfig, read_config
from training.core.instance_norm import InstanceBatchNorm, halve_norm
from training.export.model_folder import ExportOptions, export_model
from training.hhcl.network import GhostBatchNorm2d
from training.networks.building import Network, new_network, restore_network
from training.networks.exported import read_exported

PLACES = {
    "resnet18": [f"features.{layer}.{block}.bn1" for layer in (4, 5) for block in (0, 1)],
    "resnet50": [
        *(f"features.4.{block}.bn1" for block in range(3)),
        *(f"features.5.{block}.bn1" for block in range(4)),
    ],
    # The blocks of the maps at a quarter and an eighth of the size; the first has no expansion.
    "mobilenet_v2": [f"features.{block}.conv.0.1" for block in (2, 3, 4, 5, 6)],
}


def config(backbone: str, **changes: object) -> TrainConfig:
    options = {"model.backbone": backbone, "model.weights": "none", "model.height": 64}
    return read_config(None, options | {"model.width": 32} | changes)


def build(backbone: str, **changes: object) -> Network:
    torch.manual_seed(2)
    return new_network(config(backbone, **changes))


@pytest.mark.parametrize("backbone", PLACES)
def test_it_is_in_the_first_two_stages_and_nowhere_else(backbone):
    network = build(backbone, **{"model.instance_norm": True})
    found = [n for n, module in network.named_modules() if isinstance(module, InstanceBatchNorm)]
    assert found == PLACES[backbone]
    for name in found:
        rest = network.get_submodule(f"{name}.BN")
        assert isinstance(rest, GhostBatchNorm2d)
        assert rest.group == 64
    plain = build(backbone)
    assert not any(isinstance(module, InstanceBatchNorm) for module in plain.modules())


def test_scl_has_it_without_ghost_groups():
    network = build("resnet18", method="scl", **{"model.instance_norm": True})
    found = [n for n, module in network.named_modules() if isinstance(module, InstanceBatchNorm)]
    assert found == PLACES["resnet18"]
    assert not any(isinstance(module, GhostBatchNorm2d) for module in network.modules())


def test_start_weights_stay_and_the_rest_of_the_channels_is_unchanged():
    torch.manual_seed(1)
    norm = GhostBatchNorm2d(7, 4)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data.uniform_(0.5, 2.0)
    halves, maps = halve_norm(norm), torch.randn(6, 7, 5, 4)
    for mode in (False, True):
        torch.testing.assert_close(
            halves.train(mode)(maps)[:, 3:], norm.train(mode)(maps)[:, 3:], atol=1e-6, rtol=1e-5
        )
    deviation, mean = torch.std_mean(maps[:, :3], dim=(2, 3), keepdim=True, correction=0)
    scale, shift = (each[:3, None, None] for each in (norm.weight, norm.bias))
    torch.testing.assert_close(
        halves(maps)[:, :3], (maps[:, :3] - mean) / deviation * scale + shift, atol=1e-3, rtol=1e-3
    )
    norm.weight.data.zero_()  # nothing is shared
    assert halves.BN.weight.abs().min() > 0.4


def test_every_weight_learns():
    network = build("mobilenet_v2", **{"model.instance_norm": True}).train()
    network(torch.randn(4, 3, 64, 32)).square().sum(dim=0).log().sum().backward()
    lacking = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"model.backbone": "resnet50_ibn"}, "have it already"),
        ({"model.backbone": "timm/resnet50"}, "are not known"),
        (
            {"model.backbone": "resnet18", "model.weights": "a.pth", "model.frozen_stages": 2},
            "frozen_stages is 2, must be 0 if instance_norm is true",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, rule):
    with pytest.raises(InvalidInput, match=rule):
        read_config(None, {"model.instance_norm": True} | changes)


def test_it_is_saved_exported_and_read_back(tmp_path: Path):
    network = build("mobilenet_v2", **{"model.instance_norm": True})
    crops = np.random.default_rng(0).integers(0, 256, (8, 64, 32, 3), dtype=np.uint8)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # equal tensors are written once; learned ones differ
            parameter.data += 0.1 * torch.randn(len(parameter))
    with torch.no_grad():
        network(torch.randn(32, 3, 64, 32))  # statistics unlike a new network's
    settings = config("mobilenet_v2", **{"model.instance_norm": True})
    checkpoint = Checkpoint(1, settings, network.state_dict(), {}, {})
    restored = restore_network(checkpoint)
    pixels = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(restored(pixels), network.eval()(pixels))
    export_model(checkpoint, [], tmp_path / "model", ExportOptions("model"))
    _, again = read_exported(tmp_path / "model", crops)
    found = [n for n, module in again.named_modules() if isinstance(module, InstanceBatchNorm)]
    assert found == PLACES["mobilenet_v2"]
