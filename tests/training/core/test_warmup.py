"""Barlow Twins: its loss by hand, and the effect of a warm-up on a network without weights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
from torch import nn

from training.core.config import read_config
from training.core.engine import extract_embeddings
from training.core.pixels import Pixels
from training.core.transforms import normalise
from training.core.warmup import barlow_twins_loss, warm_up
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.hhcl.loop import run
from training.hhcl.network import EmbeddingNetwork
from training.measure.agreement import cycle_agreement

CPU = torch.device("cpu")
TINY = {
    "augment.padding": 3,
    "schedule.iterations": 15,
    "schedule.learning_rate": 2e-3,
    "warmup.epochs": 4,
    "warmup.batch": 36,
}
FEATURE_A, FEATURE_B = (1.0, 1.0, -1.0, -1.0), (1.0, -1.0, 1.0, -1.0)


def columns(*features):
    return torch.tensor(features).T


def test_identical_and_decorrelated_features_have_zero_loss():
    rows = columns(FEATURE_A, FEATURE_B)
    assert barlow_twins_loss(rows, rows, 0.005).item() == pytest.approx(0, abs=1e-5)
    scaled = 7 * rows + 3  # each feature is standardised over the batch
    assert barlow_twins_loss(rows, scaled, 0.005).item() == pytest.approx(0, abs=1e-5)


def test_the_loss_computed_by_hand():
    """C = [[1, 1], [0, 0]]: the second feature is lost (1), and one repeats another (lambda)."""
    one, other = columns(FEATURE_A, FEATURE_B), columns(FEATURE_A, FEATURE_A)
    assert barlow_twins_loss(one, other, 0.25).item() == pytest.approx(1.25, abs=1e-5)
    # C = [[-1, 0], [0, -1]]: the two views are opposite.
    assert barlow_twins_loss(one, -one, 0.25).item() == pytest.approx(8, abs=1e-4)


def test_a_constant_feature_does_not_divide_by_zero():
    constant = torch.ones(4, 2, requires_grad=True)
    loss = barlow_twins_loss(constant, constant.detach(), 0.005)
    loss.backward()
    assert loss.item() == pytest.approx(2)
    assert constant.grad.isfinite().all()


@pytest.fixture(scope="module")
def crops(drawn):
    return load_images(read_dataset(DataSource(drawn)).train, 64, 32)


def small_network() -> EmbeddingNetwork:
    """Three strided convolutions with random weights."""
    torch.manual_seed(5)
    widths = (3, 16, 32, 64)
    stages = [
        nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        for i, o in pairwise(widths)
    ]
    return EmbeddingNetwork(nn.Sequential(*stages), widths[-1], "average")


def warmed(crops, **changes):
    config, network = read_config(None, TINY | changes), small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses = warm_up(network, Pixels(crops.pixels, CPU), config)
    return network, before, losses


def agreement(network, crops) -> float:
    cameras = np.array([sample.camera for sample in crops.samples])
    found = cycle_agreement(extract_embeddings(network, crops.pixels, CPU), cameras)
    assert found is not None
    return found


def test_a_warm_up_lowers_its_loss_and_makes_the_cameras_agree_better(crops):
    """The reference is the same random weights with running statistics of the crops."""
    network, before, losses = warmed(crops)
    assert losses[-1] < 0.8 * losses[0]
    after = agreement(network, crops)
    assert network.state_dict().keys() == before.keys()  # the projector is gone
    untaught = small_network().train()
    with torch.no_grad():
        for _ in range(40):
            untaught(normalise(torch.from_numpy(crops.pixels)))
    assert after > agreement(untaught, crops) + 0.03


def test_the_seed_decides_the_whole_warm_up(crops):
    quick = {"warmup.epochs": 1, "schedule.iterations": 2, "warmup.batch": 8}
    (one, _, first), (two, _, second) = warmed(crops, **quick), warmed(crops, **quick)
    _, _, third = warmed(crops, seed=2, **quick)
    assert first == second != third
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, two.state_dict()[name], rtol=0, atol=0)


def test_with_zero_iterations_an_epoch_takes_as_many_crops_as_there_are(crops, capsys):
    quick = {"warmup.epochs": 1, "schedule.iterations": 0, "warmup.batch": 5000}
    _, _, losses = warmed(crops, **quick)
    assert len(losses) == 1
    assert "warm-up 1/1: loss" in capsys.readouterr().out


def test_a_resumed_run_does_not_warm_up_again(drawn, tmp_path, capsys):
    quick = {
        "data.path": str(drawn),
        "model.backbone": "resnet18",
        "model.weights": "none",
        "model.height": 32,
        "model.width": 32,
        "clustering.min_samples": 2,
        "batch.clusters": 2,
        "batch.crops": 2,
        "schedule.epochs": 1,
        "schedule.iterations": 1,
        "evaluation.every": 0,
        "warmup.epochs": 1,
        "warmup.batch": 8,
    }
    config = read_config(None, quick)
    run(config, tmp_path / "run", CPU)
    assert "warm-up 1/1: loss" in capsys.readouterr().out
    run(config, tmp_path / "run", CPU, resume=True)
    assert "warm-up" not in capsys.readouterr().out
