"""HHCL's steps, against the method written out again in NumPy: losses, gradients, weights, rows.

The reference takes gradients by differences and the optimiser's steps by hand. A wrong sign, a
missing update or a frozen weight anywhere in the loop changes what is compared here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, read_config
from training.core.distributed import World
from training.core.engine import Batch, build_learner
from training.core.method_options import MemoryOptions
from training.core.options import AugmentOptions, ScheduleOptions
from training.hhcl import loop
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.network import EmbeddingNetwork

CPU = torch.device("cpu")
UNTOUCHED = AugmentOptions(flip=0.0, padding=0, erasing=0.0)
RATE, DECAY = 0.02, 5e-4
LABELS, CAMERAS = np.repeat(np.arange(4), 3), np.arange(12) % 2
# Two batches of 2 x 3 crops: clusters 0 and 1, then clusters 1 and 3. Cluster 2 is never drawn.
BATCHES = [np.array([0, 1, 2, 3, 4, 5]), np.array([4, 3, 4, 9, 10, 11])]


def tiny_network(dimension: int = 4) -> EmbeddingNetwork:
    """One colour transform, then HHCL's pooling, neck and unit length."""
    torch.manual_seed(3)
    return EmbeddingNetwork(nn.Sequential(nn.Conv2d(3, dimension, 1, bias=False)), dimension, "gem")


class Weights(NamedTuple):
    """What the tiny network learns."""

    mixing: np.ndarray
    exponent: np.ndarray
    neck: np.ndarray


def weights_of(network: EmbeddingNetwork, *, gradients: bool = False) -> Weights:
    learned = (network.features[0].weight, network.pooling.exponent, network.neck.weight)
    values = [part.grad if gradients else part.detach() for part in learned]
    return Weights(*(value.double().numpy().reshape(-1).copy() for value in values))


def crops() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (12, 6, 4, 3), dtype=np.uint8)


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embed(pixels: np.ndarray, weights: Weights) -> np.ndarray:
    """Normalise, mix colours, pool, normalise over the batch, unit length."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    planes = (pixels / 255 - mean) / deviation @ weights.mixing.reshape(-1, 3).T
    exponent = weights.exponent[0]
    pooled = (planes.clip(min=1e-6) ** exponent).mean(axis=(1, 2)) ** (1 / exponent)
    spread = np.sqrt(pooled.var(axis=0) + 1e-5)
    return units((pooled - pooled.mean(axis=0)) / spread * weights.neck)


def cross_entropy(similarities: np.ndarray, labels: np.ndarray) -> float:
    logits = similarities / 0.05
    own = logits[np.arange(len(labels)), labels]
    return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())


class Reference:
    """HHCL's hybrid memory and Adam, step by step."""

    def __init__(self, weights: Weights, rows: np.ndarray) -> None:
        self.weights, self.hard, self.mean = weights, rows.copy(), rows.copy()
        self.first = [np.zeros_like(part) for part in weights]
        self.second = [np.zeros_like(part) for part in weights]
        self.steps = 0

    def loss(self, pixels: np.ndarray, labels: np.ndarray, weights: Weights) -> float:
        embeddings = embed(pixels, weights)
        hard = cross_entropy(embeddings @ self.hard.T, labels)
        return 0.5 * hard + 0.25 * cross_entropy(embeddings @ self.mean.T, labels)

    def gradients(self, pixels, labels, slope) -> Weights:
        def along(part: int):
            return lambda value: self.loss(
                pixels, labels, self.weights._replace(**{Weights._fields[part]: value})
            )

        return Weights(*(slope(along(part), self.weights[part]) for part in range(3)))

    def step(self, pixels: np.ndarray, labels: np.ndarray, slope) -> Weights:
        """One step of training; its gradients."""
        gradients, embeddings = self.gradients(pixels, labels, slope), embed(pixels, self.weights)
        self.weights = Weights(*map(self.adam, range(3), gradients, self.weights))
        self.steps += 1
        self.remember(embeddings, labels)
        return gradients

    def adam(self, part: int, gradient: np.ndarray, value: np.ndarray) -> np.ndarray:
        decayed = gradient + DECAY * value
        self.first[part] = 0.9 * self.first[part] + 0.1 * decayed
        self.second[part] = 0.999 * self.second[part] + 0.001 * decayed**2
        count = self.steps + 1
        towards = self.first[part] / (1 - 0.9**count)
        return value - RATE * towards / (np.sqrt(self.second[part] / (1 - 0.999**count)) + 1e-8)

    def remember(self, embeddings: np.ndarray, labels: np.ndarray) -> None:
        for cluster in set(labels.tolist()):
            own = embeddings[labels == cluster]
            least_similar = own[(own @ self.hard[cluster]).argmin()]
            self.hard[cluster] = units(0.1 * self.hard[cluster] + 0.9 * least_similar)
            self.mean[cluster] = units(0.1 * self.mean[cluster] + 0.9 * own.mean(axis=0))


class Trained(NamedTuple):
    """A network and a memory before the first step, with the reference in the same state."""

    learner: object
    memory: object
    reference: Reference


@pytest.fixture
def trained() -> Trained:
    network = tiny_network()
    before = embed(crops(), weights_of(network)).astype(np.float32)
    clustered = ClusteredCrops(before, LABELS, CAMERAS)
    memory = build_memory(clustered, MemoryOptions(), 3, np.random.default_rng(0), CPU)
    schedule = ScheduleOptions(learning_rate=RATE, weight_decay=DECAY)
    rows = units(np.stack([before[cluster == LABELS].mean(axis=0) for cluster in range(4)]))
    learner = build_learner(network, schedule, World(CPU))
    return Trained(learner, memory, Reference(weights_of(network), rows.astype(np.float64)))


def batch_of(index: np.ndarray) -> Batch:
    return Batch(torch.from_numpy(crops()[index]), LABELS[index], CAMERAS[index], 3)


def test_two_steps_are_those_of_the_method(trained, slope):
    learner, memory, reference = trained
    learner.network.train()
    for index in BATCHES:
        pixels, labels = crops()[index], LABELS[index]
        wanted = reference.loss(pixels, labels, reference.weights)
        gradients = reference.step(pixels, labels, slope)
        rng = np.random.default_rng(0)
        loss = loop.train_step(learner, memory, batch_of(index), UNTOUCHED, rng)
        assert loss.item() == pytest.approx(wanted, rel=1e-4)
        found = weights_of(learner.network, gradients=True)
        for ours, theirs in zip(found, gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
            assert (np.sign(ours) == np.sign(theirs))[np.abs(theirs) > 1e-3].all()
        for ours, theirs in zip(weights_of(learner.network), reference.weights, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-4)
        np.testing.assert_allclose(memory.hard, reference.hard, atol=1e-3)
        np.testing.assert_allclose(memory.mean, reference.mean, atol=1e-3)


def test_an_epoch_is_its_steps_and_its_loss_their_mean(trained, slope):
    learner, memory, reference = trained
    learner.network.eval()  # as embedding leaves it
    losses = []
    for index in BATCHES:
        losses.append(reference.loss(crops()[index], LABELS[index], reference.weights))
        reference.step(crops()[index], LABELS[index], slope)
    batches = (batch_of(index) for index in BATCHES)
    loss = loop.train_one_epoch(learner, memory, batches, UNTOUCHED, np.random.default_rng(0))
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)
    np.testing.assert_allclose(memory.mean, reference.mean, atol=1e-3)
    assert learner.network.training


def test_the_comparison_can_fail(trained, slope):
    """Each step moves every weight and every drawn row by more than what is tolerated above."""
    _, _, reference = trained
    before, rows = reference.weights, reference.mean.copy()
    gradients = reference.step(crops()[BATCHES[0]], LABELS[BATCHES[0]], slope)
    for old, new, gradient in zip(before, reference.weights, gradients, strict=True):
        assert (np.abs(new - old) > 0.01).all()
        assert (np.abs(gradient) > 1e-3).any()
    moved = np.abs(reference.mean - rows).max(axis=1) > 0.01
    assert moved.tolist() == [True, True, False, False]


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """Three people, each of one colour, in two cameras; noise makes their crops overlap."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(2)
    people = np.array([[150, 110, 110], [110, 150, 110], [110, 110, 150]])
    for camera in ("hall", "yard"):
        (folder / camera).mkdir()
        for crop in range(24):
            noise = rng.normal(0, 12, size=3) + rng.normal(0, 40, size=(32, 32, 3))
            pixels = (people[crop % 3] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / camera / f"{crop}.png")
    return folder


def config(folder: Path, **changes) -> TrainConfig:
    quick = {
        "data.path": str(folder),
        "data.layout": "folders",
        "data.pattern": "{camera}/{name}",
        "model.height": 32,
        "model.width": 32,
        "model.weights": "none",
        "augment.padding": 2,
        "augment.erasing": 0.0,
        "clustering.k1": 10,
        "clustering.k2": 2,
        "clustering.eps": 0.6,
        "batch.clusters": 3,
        "batch.crops": 4,
        "memory.temperature": 0.2,
        "schedule.epochs": 4,
        "schedule.iterations": 8,
        "schedule.learning_rate": 0.02,
        "schedule.step": 2,
        "schedule.decay": 0.5,
        "evaluation.every": 0,
    }
    return read_config(None, quick | changes)


@pytest.fixture
def tiny_runs(monkeypatch):
    """Let runs build the tiny network; they are quick then, and everything else is real."""

    def built(*_, **__) -> EmbeddingNetwork:
        return tiny_network()

    monkeypatch.setattr(loop, "start_network", built)


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_on_three_separable_colours(colours, tiny_runs, tmp_path):
    loop.run(config(colours), tmp_path / "run", CPU)
    losses = [line["loss"] for line in lines_of(tmp_path / "run")]
    assert losses[-1] < 0.7 * losses[0]
    assert lines_of(tmp_path / "run")[-1]["clusters"]["clusters"] == 3


def test_clustering_is_told_how_far_the_run_is(colours, tiny_runs, monkeypatch, tmp_path):
    told, cluster = [], loop.cluster

    def noting(embeddings, cameras, options, tell, progress, known):
        told.append(progress)
        return cluster(embeddings, cameras, options, tell, progress, known)

    monkeypatch.setattr(loop, "cluster", noting)
    loop.run(config(colours, **{"schedule.iterations": 1}), tmp_path / "run", CPU)
    assert told == [0, 0.25, 0.5, 0.75]


@pytest.fixture
def rates(monkeypatch) -> list[float]:
    """The learning rates with which the epochs of a run are really trained."""
    used, whole_epoch = [], loop.train_one_epoch

    def noting(learner, *others) -> float:
        used.append(learner.optimiser.param_groups[0]["lr"])
        return whole_epoch(learner, *others)

    monkeypatch.setattr(loop, "train_one_epoch", noting)
    return used


def test_the_learning_rate_that_trains_drops_as_the_schedule_says(
    colours, tiny_runs, rates, tmp_path
):
    changes = {"schedule.epochs": 7, "schedule.iterations": 1, "schedule.step": 3}
    loop.run(config(colours, **changes), tmp_path / "run", CPU)
    assert rates == pytest.approx([0.02] * 3 + [0.01] * 3 + [0.005])
    assert [line["learning_rate"] for line in lines_of(tmp_path / "run")] == rates


def test_an_interrupted_run_goes_on_with_its_rate_and_its_moments(
    colours, tiny_runs, rates, monkeypatch, tmp_path
):
    settings = config(colours, **{"schedule.iterations": 2, "schedule.step": 1})
    loop.run(settings, tmp_path / "whole", CPU)
    noting = loop.train_one_epoch

    def interrupted(*arguments) -> float:
        if len(rates) == 4 + 2:
            raise KeyboardInterrupt
        return noting(*arguments)

    monkeypatch.setattr(loop, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(settings, tmp_path / "again", CPU)
    monkeypatch.setattr(loop, "train_one_epoch", noting)
    loop.run(settings, tmp_path / "again", CPU, resume=True)
    assert rates == pytest.approx([0.02, 0.01, 0.005, 0.0025] * 2)
    assert lines_of(tmp_path / "again") == lines_of(tmp_path / "whole")
    whole, again = (load_checkpoint(tmp_path / name).network for name in ("whole", "again"))
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)
