"""SCL's steps, against the method written out again in NumPy: losses, gradients, weights, banks.

The reference takes gradients by differences and the optimiser's steps by hand. A wrong sign, a
missing write or a frozen weight anywhere in the loop changes what is compared here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, read_config
from training.core.method_options import SclOptions
from training.core.pixels import Pixels
from training.core.stages import Stages
from training.data.images import Images
from training.run.setup import Crops
from training.scl import loop
from training.scl.network import PartNetwork

CPU = torch.device("cpu")
COUNT = 12
RATE, DECAY = 0.1, 5e-3
PLAIN = {
    "method": "scl",
    "model.weights": "none",
    "model.height": 32,
    "model.width": 32,
    "augment.flip": 0.0,
    "augment.padding": 0,
    "augment.erasing": 0.0,
    "selective.stripes": 2,
    "selective.global_size": 6,
    "selective.local_size": 3,
    "selective.batch": 4,
    "selective.positives": 2,
    "selective.negatives": 5,
    "selective.global_weight": 0.3,
    "selective.local_weight": 0.7,
    "selective.self_weight": 0.6,
    "selective.bank_momentum": 0.2,
    "selective.camera_weight": 0.3,
    "selective.warmup_epochs": 1,
    "schedule.optimiser": "sgd",
    "schedule.learning_rate": RATE,
    "schedule.weight_decay": DECAY,
    "schedule.iterations": 0,
    "evaluation.every": 0,
}
CONFIG = read_config(None, PLAIN)
OPTIONS = CONFIG.selective
Weights = dict[str, np.ndarray]


def tiny_network(options: SclOptions = OPTIONS) -> PartNetwork:
    """One colour transform, then SCL's branches."""
    torch.manual_seed(4)
    return PartNetwork(Stages(nn.Sequential(nn.Conv2d(3, 5, 1, bias=False)), 5, ()), options)


def weights_of(network: PartNetwork, *, gradients: bool = False) -> Weights:
    return {
        name: (value.grad if gradients else value.detach()).double().numpy().copy()
        for name, value in network.named_parameters()
    }


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def branch(rows: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """Linear, batch normalisation, unit length."""
    rows = rows @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"]
    standard = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5)
    return units(standard * weights[f"{name}.1.weight"] + weights[f"{name}.1.bias"])


def describe(images: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """(B, D_g) global and (B, S, D_l) local features of (B, 3, H, W) images."""
    mixing = weights["features.0.weight"][:, :, 0, 0]
    rows = np.einsum("nchw,dc->nhd", images.astype(np.float64), mixing) / images.shape[3]
    upper, lower = np.split(rows, 2, axis=1)
    stripes = [
        branch(part.mean(axis=1), weights, f"stripes.{place}")
        for place, part in enumerate((upper, lower))
    ]
    return branch(rows.mean(axis=1), weights, "whole"), np.stack(stripes, axis=1)


class Reference:
    """SCL's banks and SGD with Nesterov momentum, step by step."""

    def __init__(self, weights: Weights, crops: Crops, banks: list[np.ndarray]) -> None:
        self.weights, self.cameras = weights, crops.cameras
        self.whole, self.stripes, self.mixture = (bank.astype(np.float64) for bank in banks)
        self.speed: Weights = {}

    def compared(self, images, indices, order) -> list[tuple[list[int], list[int]]]:
        """The positives and negatives of each crop of the batch."""
        others = [[crop for crop in range(COUNT) if crop != own] for own in indices]
        if order is not None:
            random = [[crop for crop in order if crop != own][:7] for own in indices]
            return [([own], drawn) for own, drawn in zip(indices, random, strict=True)]
        features = zip(*describe(images, self.weights), strict=True)
        nearest = [
            sorted(rest, key=lambda crop: self.distance(own, crop, *feature))
            for own, rest, feature in zip(indices, others, features, strict=True)
        ]
        return [([own, *near[:2]], near[2:7]) for own, near in zip(indices, nearest, strict=True)]

    def distance(self, own: int, crop: int, whole: np.ndarray, stripes: np.ndarray) -> float:
        of_whole = ((whole - self.whole[crop]) ** 2).sum()
        of_stripes = ((stripes - self.stripes[crop]) ** 2).sum()
        same_camera = self.cameras[own] == self.cameras[crop]
        return 0.3 * of_whole + 0.7 / 2 * of_stripes + 0.3 * same_camera

    def loss(self, images: np.ndarray, compared, weights: Weights) -> float:
        whole, stripes = describe(images, weights)
        total = 0.0
        for feature, share in ((stripes.reshape(len(whole), -1), 0.7), (whole, 0.3)):
            for row, (positives, negatives) in zip(feature, compared, strict=True):
                logits = self.mixture[[*positives, *negatives]] @ row / 0.1
                terms = np.log(np.exp(logits).sum()) - logits[: len(positives)]
                by = np.array([0.6] + [1.75 * 0.4 / 2] * (len(positives) - 1))
                total += share * (by * terms).sum() / len(whole)
        return float(total)

    def step(self, images: np.ndarray, indices, order, slope) -> tuple[float, Weights]:
        """One step of training; the loss before it, and its gradients."""
        compared = self.compared(images, indices, order)

        def along(name: str) -> Callable[[np.ndarray], float]:
            return lambda value: self.loss(images, compared, self.weights | {name: value})

        loss, features = self.loss(images, compared, self.weights), describe(images, self.weights)
        gradients = {name: slope(along(name), value) for name, value in self.weights.items()}
        self.weights = {name: self.moved(name, gradients[name]) for name in gradients}
        self.write(indices, compared, *features)
        return loss, gradients

    def moved(self, name: str, gradient: np.ndarray) -> np.ndarray:
        decayed = gradient + DECAY * self.weights[name]
        self.speed[name] = 0.9 * self.speed[name] + decayed if name in self.speed else decayed
        return self.weights[name] - RATE * (decayed + 0.9 * self.speed[name])

    def write(self, indices, compared, whole: np.ndarray, stripes: np.ndarray) -> None:
        places = range(len(compared[0][0]))
        for feature in (stripes.reshape(len(whole), -1), whole):
            for place in reversed(places):
                for (positives, _), row in zip(compared, feature, strict=True):
                    mixed = self.mixture[positives[place]] + row
                    self.mixture[positives[place]] = units(mixed)
        self.whole[indices] = units(0.2 * self.whole[indices] + 0.8 * whole)
        self.stripes[indices] = units(0.2 * self.stripes[indices] + 0.8 * stripes)


def crops() -> Crops:
    rng = np.random.default_rng(6)
    # The halves differ, so that the stripes do.
    pixels = rng.integers(0, 256, (COUNT, 4, 2, 3)).astype(np.uint8)
    cameras, sites = np.arange(COUNT) % 3, np.zeros(COUNT, dtype=np.int64)
    images = Images(pixels, (), ())
    return Crops(images, Pixels(pixels, CPU), cameras, sites, np.full(COUNT, -1), [])


@pytest.fixture
def tiny_runs(monkeypatch):
    """Let runs build the tiny network; they are quick then, and everything else is real."""

    def built(*_, **__) -> PartNetwork:
        return tiny_network()

    monkeypatch.setattr(loop, "start_network", built)


def test_the_steps_of_two_epochs_are_those_of_the_method(tiny_runs, slope, monkeypatch, tmp_path):
    """The first epoch is the warm-up, the second selects by the banks."""
    state, contrast = loop._start(CONFIG, crops(), None, CPU, tmp_path)
    reference = Reference(
        weights_of(state.network), crops(), [bank.numpy() for bank in contrast.banks]
    )
    real_step, steps = loop.train_step, []

    def checked(state, contrast, images, indices, order):
        wanted, gradients = reference.step(images.numpy(), indices, order, slope)
        loss = real_step(state, contrast, images, indices, order)
        assert loss.item() == pytest.approx(wanted, rel=1e-4)
        for name, ours in weights_of(state.network, gradients=True).items():
            np.testing.assert_allclose(ours, gradients[name], atol=2e-4, err_msg=name)
            clear = np.abs(gradients[name]) > 1e-3
            assert (np.sign(ours) == np.sign(gradients[name]))[clear].all()
        for name, ours in weights_of(state.network).items():
            np.testing.assert_allclose(ours, reference.weights[name], atol=2e-4, err_msg=name)
        for ours, theirs in zip(
            contrast.banks, (reference.whole, reference.stripes, reference.mixture), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-3)
        steps.append(order is None)
        return loss

    monkeypatch.setattr(loop, "train_step", checked)
    for epoch in (1, 2):
        loop.train_one_epoch(state, contrast, crops(), CONFIG, epoch)
    assert steps == [False] * 3 + [True] * 3
    assert state.network.training


def test_the_comparison_can_fail(tiny_runs, slope, tmp_path):
    """A step moves all weights and the batch's rows by more than what is tolerated above."""
    state, contrast = loop._start(CONFIG, crops(), None, CPU, tmp_path)
    banks = [bank.numpy() for bank in contrast.banks]
    reference = Reference(weights_of(state.network), crops(), banks)
    reference.mixture = units(np.random.default_rng(1).normal(size=reference.mixture.shape))
    before, rows = reference.weights, [bank.copy() for bank in (reference.whole, reference.mixture)]
    images, _ = np.random.default_rng(2).normal(size=(2, 4, 3, 4, 2))
    reference.step(images, [0, 1, 2, 3], None, slope)
    without_effect = {f"{name}.0.bias" for name in ("whole", "stripes.0", "stripes.1")}
    for name in before.keys() - without_effect:
        assert np.abs(reference.weights[name] - before[name]).max() > 5e-3, name
    for old, new in zip(rows, (reference.whole, reference.mixture), strict=True):
        assert (np.abs(new - old).max(axis=1) > 0.01)[:4].all()


def test_the_banks_start_with_the_features_of_their_own_crops():
    network, given = tiny_network(), crops()
    together = read_config(None, PLAIN | {"selective.batch": COUNT})
    features = loop.describe_all(network, given, together, np.random.default_rng(0))
    images = given.pixels.take(np.arange(COUNT)).numpy() / 255
    normalised = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    wanted = describe(normalised.transpose(0, 3, 1, 2), weights_of(network))
    for ours, theirs in zip(features, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """Three people in two cameras: each of one colour above and of another below."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(2)
    upper = np.array([[170, 90, 90], [90, 170, 90], [90, 90, 170]])
    for camera in ("hall", "yard"):
        (folder / camera).mkdir()
        for crop in range(12):
            halves = np.stack([upper[crop % 3], upper[(crop + 1) % 3]]).repeat(16, axis=0)
            noise = rng.normal(0, 10, size=3) + rng.normal(0, 30, size=(32, 32, 3))
            pixels = (halves[:, None] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / camera / f"{crop}.png")
    return folder


def config(folder: Path, **changes) -> TrainConfig:
    where = {"data.path": str(folder), "data.layout": "folders", "data.pattern": "{camera}/{name}"}
    return read_config(None, PLAIN | where | changes)


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_on_three_separable_colours(colours, tiny_runs, tmp_path):
    """After the warm-up, which has another loss; with a frozen network it stays where it was."""
    changes = {"schedule.epochs": 8, "selective.batch": 8}
    loop.run(config(colours, **changes), tmp_path / "run", CPU)
    losses = [line["loss"] for line in lines_of(tmp_path / "run")]
    assert losses[-1] < 0.75 * losses[1]


def test_the_learning_rate_that_trains_drops_as_the_schedule_says(
    colours, tiny_runs, monkeypatch, tmp_path
):
    used, whole_epoch = [], loop.train_one_epoch

    def noting(state, *others) -> float:
        used.append(state.optimiser.param_groups[0]["lr"])
        return whole_epoch(state, *others)

    monkeypatch.setattr(loop, "train_one_epoch", noting)
    changes = {"schedule.epochs": 5, "schedule.iterations": 1, "schedule.step": 2}
    loop.run(config(colours, **changes), tmp_path / "run", CPU)
    assert used == pytest.approx([RATE] * 2 + [RATE / 10] * 2 + [RATE / 100])
    assert [line["learning_rate"] for line in lines_of(tmp_path / "run")] == used
    rate = load_checkpoint(tmp_path / "run").optimiser["param_groups"][0]["lr"]
    assert rate == pytest.approx(RATE / 100)
