"""Fixtures of the training tests."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tiny_run import NETWORK, TINY

CommandLine = Callable[..., tuple[int, str, str]]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def import_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a script of ``benchmarks/`` by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Run ``python -m training ...`` and return status, output and errors."""
    from training.__main__ import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["training", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder of real crops and weights, which is not part of the project."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared: the folder with real crops and weights is not here")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in Market-1501's layout."""
    from training.synthetic import SyntheticOptions, synthesize

    folder = tmp_path_factory.mktemp("drawn") / "people"
    synthesize(
        folder, SyntheticOptions(identities=24, cameras=2, crops=3, seed=3, height=64, width=32)
    )
    return folder


@pytest.fixture(scope="session")
def start_weights(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Start weights of a MobileNetV2, which learns several times faster than a ResNet-18.

    They are random, but the running statistics are those of the drawn crops. With a new network's
    statistics, a network this deep would give every crop the same embedding.
    """
    import torch
    from torchvision import models

    from training.core.transforms import normalise
    from training.data.datasets import DataSource, read_dataset
    from training.data.images import load_images

    torch.manual_seed(1)
    network = models.mobilenet_v2(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    crops = load_images(read_dataset(DataSource(drawn)).train, 64, 32)
    with torch.no_grad():
        network(normalise(torch.from_numpy(crops.pixels)))
    file = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    torch.save(network.state_dict(), file)
    return str(file)


@pytest.fixture(scope="session")
def quick_network(start_weights: str) -> dict[str, object]:
    """Settings of a network that learns quickly; exporting it takes longer."""
    return NETWORK | {"model.backbone": "mobilenet_v2", "model.weights": start_weights}


@pytest.fixture(scope="session")
def quick(quick_network: dict[str, object]) -> dict[str, object]:
    """Settings of a tiny run of HHCL with that network."""
    return TINY | quick_network


@pytest.fixture(scope="session")
def run_folder(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network has seen the drawn crops but not learned; it takes crops of 64x32."""
    return _untaught_run("resnet18", drawn, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def quick_run_folder(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network that learns several times faster; exporting it takes longer."""
    return _untaught_run("mobilenet_v2", drawn, tmp_path_factory.mktemp("run"))


def _untaught_run(backbone: str, drawn: Path, folder: Path) -> Path:
    import torch

    from training.core.checkpoint import Checkpoint, save_checkpoint
    from training.core.config import read_config
    from training.core.transforms import normalise
    from training.data.datasets import DataSource, read_dataset
    from training.data.images import load_images
    from training.hhcl.network import GhostBatchNorm2d
    from training.networks.building import new_network

    options = {"backbone": backbone, "weights": "none", "height": 64, "width": 32}
    tree = {f"model.{name}": value for name, value in options.items()}
    config = read_config(None, {**tree, "data.path": str(drawn), "schedule.epochs": 3})
    torch.manual_seed(1)
    network = new_network(config)
    for module in network.modules():
        if isinstance(module, GhostBatchNorm2d):
            module.momentum = (
                1.0  # so one batch makes running statistics differ from a new network's
            )
    crops = load_images(read_dataset(DataSource(drawn)).train, 64, 32)
    with torch.no_grad():
        network(normalise(torch.from_numpy(crops.pixels)))
    save_checkpoint(folder, Checkpoint(3, config, network.state_dict(), {}, {}))
    return folder


@pytest.fixture(scope="session")
def exported(run_folder: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run exported to a model folder and measured on the drawn people. Do not change it."""
    from training.core.checkpoint import load_checkpoint
    from training.export.model_folder import ExportOptions, export_model
    from training.measure.held_out import read_held_out

    folder = tmp_path_factory.mktemp("models") / "drawn-people"
    options = ExportOptions(
        "drawn-people", licence="Apache-2.0", notes="Drawn only.", before_training=True
    )
    export_model(load_checkpoint(run_folder), read_held_out([drawn]), folder, options)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Use one thread: networks this small lose more by waiting for threads than they gain."""
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def slope() -> Callable[..., np.ndarray]:
    """Gradients by central differences: they know nothing of the code that they check."""

    def by_differences(loss: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
        steps = 1e-5 * np.eye(at.size).reshape(at.size, *at.shape)
        return np.reshape([(loss(at + h) - loss(at - h)) / 2e-5 for h in steps], at.shape)

    return by_differences
