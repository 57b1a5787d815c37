"""Networks of timm and with instance normalisation are exported, and read back for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
timm = pytest.importorskip("timm", reason="the extra timm is not installed")

from torchvision.models import resnet

from service.model.manifest import Manifest, sha256_of, write_manifest
from training.core.config import TrainConfig, read_config
from training.core.transforms import normalise
from training.export.onnx_file import check_parity, write_onnx
from training.hhcl.network import EmbeddingNetwork
from training.networks.building import new_network
from training.networks.embedder import TorchEmbedder, open_onnx
from training.networks.exported import read_exported

HEIGHT, WIDTH = 64, 32
CROPS = np.random.default_rng(0).integers(0, 256, (33, HEIGHT, WIDTH, 3), dtype=np.uint8)


def config_of(backbone: str) -> TrainConfig:
    model = {"weights": "none", "height": HEIGHT, "width": WIDTH, "backbone": backbone}
    model["last_stride"] = 1 if backbone == "resnet50_ibn" else 2
    return read_config(None, {f"model.{name}": value for name, value in model.items()})


def network_that_has_seen(config: TrainConfig) -> EmbeddingNetwork:
    """Random weights, and running statistics of the crops.

    Equal tensors are written once, so all have to differ, as learned ones do.
    """
    torch.manual_seed(0)
    network = new_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(len(parameter))
    with torch.no_grad():
        network(normalise(torch.from_numpy(CROPS)))
    return network.eval()


@pytest.fixture
def short_resnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block a layer instead of sixteen: the exporter takes its time for each."""
    real = resnet.ResNet
    monkeypatch.setattr(
        resnet, "ResNet", lambda block, layers, **options: real(block, [1, 1, 1, 1], **options)
    )


# Pixels of another mean; activations inside normalisations, squeeze and excitation.
@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_efficientnet", "resnet50_ibn"])
def test_onnx_equals_torch_and_is_read_back(
    backbone: str, short_resnet: None, tmp_path: Path
) -> None:
    config = config_of(backbone)
    network = network_that_has_seen(config)
    write_onnx(network, HEIGHT, WIDTH, tmp_path / "model.onnx")
    manifest = Manifest(
        name="backbone",
        sha256=sha256_of(tmp_path / "model.onnx"),
        input_height=HEIGHT,
        input_width=WIDTH,
        dimension=network.dimension,
        recipe=config.as_dict(),
    )
    write_manifest(tmp_path, manifest)
    ours = TorchEmbedder(network, HEIGHT, WIDTH, torch.device("cpu")).embed(CROPS)
    exported = open_onnx(tmp_path / "model.onnx", manifest)
    assert check_parity(ours, exported, CROPS).cosine > 0.99999
    cosines = ours @ ours.T
    assert cosines[~np.eye(len(ours), dtype=bool)].min() < 0.9  # else any two would agree
    again = read_exported(tmp_path, CROPS)[1]
    found = TorchEmbedder(again, HEIGHT, WIDTH, torch.device("cpu")).embed(CROPS)
    assert np.einsum("nd,nd->n", found, ours).min() > 0.9999
