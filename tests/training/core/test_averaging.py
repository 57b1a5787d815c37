"""The averaged network: its arithmetic, its use in a run, and that resuming keeps every bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from service.errors import InvalidInput
from training.core.averaging import Average
from training.core.backbone import PartlyFrozen
from training.core.checkpoint import load_checkpoint, save_checkpoint
from training.core.config import TrainConfig, read_config
from training.core.distributed import World
from training.core.engine import build_learner
from training.core.options import ScheduleOptions
from training.hhcl import loop
from training.networks.building import restore_network
from training.scl import loop as scl

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def take_steps(decay: float, count: int = 6) -> tuple[nn.Module, nn.Module, list[dict]]:
    """Train a network on noise; itself, its average, and its states after each step."""
    learner = build_learner(
        network(), ScheduleOptions(learning_rate=0.1, average=decay), World(CPU)
    )
    assert learner.average is not None
    states = []
    for _ in range(count):
        loss = learner.network(torch.randn(8, 3, 5, 5)).square().mean()
        learner.optimiser.zero_grad()
        loss.backward()
        learner.step()
        states.append({k: v.detach().clone() for k, v in learner.network.state_dict().items()})
    return learner.network, learner.average.network, states


@pytest.mark.parametrize("decay", [0.9, 0.25])
def test_weights_and_running_statistics_are_averaged_as_written_out(decay):
    learning, averaged, states = take_steps(decay)
    wanted = {name: value.double() for name, value in states[0].items()}
    for step, state in enumerate(states[1:], start=1):
        kept = min(decay, (1 + step) / (10 + step))
        wanted = {name: kept * wanted[name] + (1 - kept) * state[name] for name in wanted}
    found, last = averaged.state_dict(), learning.state_dict()
    for name in ("0.weight", "1.running_mean", "1.running_var", "1.bias", "2.weight"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
        assert (found[name] - last[name]).abs().max() > 1e-4  # the steps were large enough to tell
    assert found["1.num_batches_tracked"] == last["1.num_batches_tracked"]


def test_the_average_never_changes_the_learning_network():
    without = build_learner(network(), ScheduleOptions(learning_rate=0.1), World(CPU))
    assert without.average is None
    for _ in range(6):
        loss = without.network(torch.randn(8, 3, 5, 5)).square().mean()
        without.optimiser.zero_grad()
        loss.backward()
        without.step()
    learning, _, _ = take_steps(0.9)
    for name, value in without.network.state_dict().items():
        torch.testing.assert_close(learning.state_dict()[name], value, rtol=0, atol=0)


def test_frozen_stages_keep_every_bit_and_stay_in_evaluation_mode():
    learning = PartlyFrozen(network(), 2)
    start = {name: value.clone() for name, value in learning.state_dict().items()}
    average = Average(learning, 0.9)
    for _ in range(5):
        with torch.no_grad():
            learning[2].weight += 1.0
        average.follow(learning)
    averaged = average.network.train()
    assert not averaged[1].training
    assert averaged[2].training
    for name, value in averaged.state_dict().items():
        same = torch.equal(value, start[name])
        assert same == (name != "2.weight")


def config(drawn: Path, weights: str, **changes) -> TrainConfig:
    quick = TINY | {
        "data.path": str(drawn),
        "model.backbone": "mobilenet_v2",
        "model.weights": weights,
        "schedule.iterations": 3,
        "schedule.epochs": 3,
        "schedule.average": 0.5,
        "evaluation.every": 1,
    }
    return read_config(None, quick | changes)


@pytest.fixture(scope="module")
def whole(drawn, start_weights, tmp_path_factory) -> Path:
    """An uninterrupted run with an averaged network."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    loop.run(config(drawn, start_weights), folder, CPU)
    return folder


def same_tensors(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_average_is_what_a_run_embeds_measures_and_leaves(
    drawn, start_weights, monkeypatch, tmp_path
):
    embedded, measured = [], []
    embed, measure = loop.embed_together, loop.measure_epoch

    def noting_embed(network, *others):
        embedded.append({k: v.clone() for k, v in network.state_dict().items()})
        return embed(network, *others)

    def noting_measure(network, *others):
        measured.append({k: v.clone() for k, v in network.state_dict().items()})
        return measure(network, *others)

    monkeypatch.setattr(loop, "embed_together", noting_embed)
    monkeypatch.setattr(loop, "measure_epoch", noting_measure)
    settings = config(drawn, start_weights, **{"schedule.epochs": 2})
    loop.run(settings, tmp_path / "run", CPU)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert checkpoint.averaged == 2 * 3
    assert same_tensors(measured[0], embedded[1])
    assert same_tensors(measured[1], checkpoint.network)
    assert same_tensors(restore_network(checkpoint).state_dict(), checkpoint.network)
    assert not same_tensors(checkpoint.network, checkpoint.learning)


def test_an_interrupted_run_goes_on_with_the_same_bits(
    drawn, start_weights, whole, monkeypatch, tmp_path
):
    settings, epochs, train = config(drawn, start_weights), [], loop.train_one_epoch

    def interrupted(*arguments) -> float:
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(loop, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(settings, tmp_path / "run", CPU)
    monkeypatch.setattr(loop, "train_one_epoch", train)
    loop.run(settings, tmp_path / "run", CPU, resume=True)
    resumed, uninterrupted = load_checkpoint(tmp_path / "run"), load_checkpoint(whole)
    assert same_tensors(resumed.network, uninterrupted.network)
    assert same_tensors(resumed.learning, uninterrupted.learning)
    assert resumed.averaged == uninterrupted.averaged
    lines = [(folder / "metrics.jsonl").read_text() for folder in (tmp_path / "run", whole)]
    assert lines[0] == lines[1]


def test_a_warm_up_comes_before_the_average(drawn, start_weights, monkeypatch, tmp_path):
    seen = []

    def noting(network, *_):
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "embed_together", noting)
    for epochs in (0, 1):
        changes = {"warmup.epochs": epochs, "warmup.batch": 8, "schedule.average": 0.9}
        settings = config(drawn, start_weights, **changes)
        with pytest.raises(KeyboardInterrupt):
            loop.run(settings, tmp_path / f"{epochs}", CPU)
    assert not same_tensors(*seen)


def test_checkpoints_without_an_average_are_read(run_folder, tmp_path):
    state = torch.load(run_folder / "checkpoint.pt", weights_only=True)
    del state["learning"], state["averaged"]
    state["config"]["schedule"].pop("average")
    torch.save(state, tmp_path / "checkpoint.pt")
    old = load_checkpoint(tmp_path)
    assert (old.learning, old.averaged, old.config.schedule.average) == ({}, 0, 0.0)


def test_a_selected_network_is_saved_without_the_learning_one(whole, tmp_path):
    from training.run.best_epoch import keep_if_best

    checkpoint = load_checkpoint(whole)
    chosen = replace(checkpoint.config.evaluation, select="validation")
    checkpoint = replace(checkpoint, config=replace(checkpoint.config, evaluation=chosen))
    save_checkpoint(tmp_path, checkpoint)
    keep_if_best(tmp_path, checkpoint, [{"epoch": 3, "agreement": 0.5, "map": {}}])
    selected = load_checkpoint(tmp_path / "selected.pt")
    assert selected.learning == {}
    assert same_tensors(selected.network, checkpoint.network)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_that_never_moves_is_rejected(decay):
    with pytest.raises(InvalidInput, match=r"schedule\.average"):
        read_config(None, {"schedule.average": decay})


def test_scl_has_no_average(drawn, tmp_path):
    settings = read_config(
        None, {"method": "scl", "data.path": str(drawn), "schedule.average": 0.9}
    )
    with pytest.raises(InvalidInput, match=r"schedule\.average = 0\.9: method = 'scl'"):
        scl.run(settings, tmp_path / "run", CPU)
