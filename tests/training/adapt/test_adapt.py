"""Adapting improves a model or leaves it unchanged, reads no labels, and can be interrupted."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from typer.testing import CliRunner

from service.errors import InvalidInput
from training.__main__ import app
from training.adapt import adaptation
from training.adapt.adaptation import adapt
from training.adapt.fitting import FIT_NAME, Asked, Fit
from training.adapt.plan import Plan, choose_plan
from training.adapt.request import Adaptation, Request
from training.adapt.rounds import ROUNDS_NAME
from training.core.checkpoint import load_checkpoint, save_checkpoint
from training.core.engine import extract_embeddings
from training.core.options import BatchOptions
from training.core.transforms import normalise
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.export.model_folder import ExportOptions, export_model
from training.networks.building import restore_network
from training.networks.embedder import open_embedder
from training.networks.exported import read_exported

CPU = torch.device("cpu")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / ROUNDS_NAME).read_text().splitlines()]


def same_networks(left: Path, right: Path) -> bool:
    one, other = (load_checkpoint(folder).network for folder in (left, right))
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def in_small_batches(run: Path, folder: Path) -> Path:
    """A run with batches of 8 crops, so that rounds are fast."""
    saved = load_checkpoint(run)
    config = replace(saved.config, batch=BatchOptions(clusters=4, crops=2))
    save_checkpoint(folder, replace(saved, config=config))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _short_rounds() -> Iterator[None]:
    """Train rounds for three batches: no test needs a network that has learned."""

    def short_plan(*given) -> Plan:
        return replace(choose_plan(*given), epochs=1, iterations=3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adaptation, "choose_plan", short_plan)
        yield


@pytest.fixture(scope="module")
def start(quick_run_folder, tmp_path_factory) -> Path:
    return in_small_batches(quick_run_folder, tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def adapted(start, drawn, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("adapted") / "run"
    adapt(Request(start, DataSource(drawn), output, rounds=2), CPU)
    return output


def test_the_result_is_the_best_round_or_the_start(adapted, start, drawn):
    found = adapt(Request(start, DataSource(drawn), adapted, rounds=2), CPU, resume=True)
    told = lines(adapted)
    assert [line["round"] for line in told] == [0, 1, 2]
    assert found.start == told[0]["agreement"]
    if found.better:
        assert told[found.best]["gain"] > 2 * told[found.best]["error"]
        assert found.agreement > found.start
    else:
        assert same_networks(adapted, start)
    assert load_checkpoint(adapted).config.data.path == str(drawn)
    assert open_embedder(adapted, CPU).height == 64


def test_held_out_crops_are_not_trained_on(adapted, drawn):
    with (adapted / "crops.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    crops = read_dataset(DataSource(drawn)).train
    assert len(rows) == len(crops) - round(0.2 * len(crops))
    assert set(rows[0]) == {"path", "camera", "track", "frame"}


def test_a_resumed_adaptation_ends_the_same(adapted, start, drawn, tmp_path):
    output = tmp_path / "again"
    request = Request(start, DataSource(drawn), output, rounds=1)
    adapt(request, CPU)
    with pytest.raises(InvalidInput, match="--resume continues"):
        adapt(request, CPU)
    with pytest.raises(InvalidInput, match="resume with the same"):
        adapt(Request(start, DataSource(drawn), output, seed=2), CPU, resume=True)
    adapt(Request(start, DataSource(drawn), output, rounds=2), CPU, resume=True)
    assert lines(output) == lines(adapted)
    assert same_networks(output, adapted)


def test_identities_in_file_names_change_nothing(start, drawn, tmp_path):
    rng = np.random.default_rng(0)
    crops = read_dataset(DataSource(drawn)).train
    shuffled = rng.permutation([sample.identity for sample in crops])
    found = []
    for name, identities in (("true", [s.identity for s in crops]), ("shuffled", shuffled)):
        folder = tmp_path / name
        folder.mkdir()
        for index, (sample, identity) in enumerate(zip(crops, identities, strict=True)):
            shutil.copy(sample.path, folder / f"{index:04}_c{sample.camera}_p{identity}.jpg")
        source = DataSource(folder, pattern="{name}_c{camera}_p{identity}")
        adapt(Request(start, source, tmp_path / f"run-{name}", rounds=1), CPU)
        found.append(lines(tmp_path / f"run-{name}"))
    assert found[0] == found[1]
    assert same_networks(tmp_path / "run-true", tmp_path / "run-shuffled")


def test_if_no_round_is_better_the_start_is_kept(start, drawn, tmp_path):
    # Steps this large ruin any network.
    wrecking = Request(start, DataSource(drawn), tmp_path / "run", 1, learning_rate=10.0)
    found = adapt(wrecking, CPU)
    assert (found.better, found.best, found.agreement) == (False, 0, found.start)
    assert same_networks(tmp_path / "run", start)


def test_an_exported_model_is_read_back_exactly_and_can_learn(
    run_folder, drawn, tmp_path, tmp_path_factory
):
    start = in_small_batches(run_folder, tmp_path_factory.mktemp("start"))
    exported = tmp_path / "exported"
    export_model(load_checkpoint(start), [], exported, ExportOptions("start"))
    crops = load_images(read_dataset(DataSource(drawn)).train, 64, 32).pixels
    config, network = read_exported(exported, crops)
    trained = restore_network(load_checkpoint(start))
    again, before = (extract_embeddings(each, crops, CPU) for each in (network, trained))
    assert (again * before).sum(axis=1).min() > 0.9999
    assert config.model == load_checkpoint(start).config.model
    network.train()
    with torch.no_grad():
        group = crops[
            : config.batch.ghost_group
        ]  # a smaller group would have other batch statistics
        learning = network(normalise(torch.from_numpy(group))).numpy()
    # the statistics were measured on these crops, so training starts from the network as it is
    assert (learning * before[: len(group)]).sum(axis=1).min() > 0.98
    found = adapt(Request(exported, DataSource(drawn), tmp_path / "run", rounds=1), CPU)
    assert found.checkpoint.exists()


def test_an_adaptation_survives_an_unwritable_list_of_rounds(start, drawn, tmp_path, capsys):
    (tmp_path / "run" / ROUNDS_NAME).mkdir(parents=True)
    request = Request(start, DataSource(drawn), tmp_path / "run", rounds=1)
    found = adapt(request, CPU, resume=True)  # the folder is not empty
    assert found.checkpoint.exists()
    assert f"{ROUNDS_NAME} cannot be written: " in capsys.readouterr().out


def test_crops_of_one_camera_are_compared_between_two_halves(
    quick_run_folder, drawn, tmp_path, capsys
):
    """In large batches: so few crops in small ones may leave a random network without clusters."""
    folder = tmp_path / "one"
    folder.mkdir()
    for sample in read_dataset(DataSource(drawn)).train:
        shutil.copy(sample.path, folder)
    source = DataSource(folder, pattern="{name}")
    adapt(Request(quick_run_folder, source, tmp_path / "run", rounds=1), CPU)
    assert (
        "one camera: its crops are divided between two imaginary cameras" in capsys.readouterr().out
    )


def test_too_few_crops_are_rejected(start, drawn, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for sample in read_dataset(DataSource(drawn)).train[:20]:
        shutil.copy(sample.path, folder)
    source = DataSource(folder, pattern="{name}")
    with pytest.raises(InvalidInput, match="20 crops to train on, must be at least 32"):
        adapt(Request(start, source, tmp_path / "run"), CPU)


@pytest.mark.parametrize(
    ("crops", "cameras", "epochs", "iterations"),
    [(640, 2, 2, 20), (20_000, 4, 1, 400), (300_000, 6, 1, 400), (100, 1, 2, 10)],
)
def test_the_plan_follows_from_the_data(crops, cameras, epochs, iterations):
    fit = Fit(7, 2, 0.35, 2, silhouette=0.3, crops=crops, clusters=50, outliers=0.1)
    plan = choose_plan(crops, cameras, 64, fit)
    assert (plan.epochs, plan.iterations) == (epochs, iterations)
    assert (plan.clustering.k1, plan.clustering.k2, plan.clustering.eps) == (7, 2, 0.35)
    scheme, links = ("camera-link", "soft") if cameras > 1 else ("dbscan", "hard")
    assert (plan.clustering.scheme, plan.clustering.links) == (scheme, links)


def test_a_resumed_adaptation_keeps_its_clustering(start, drawn, tmp_path, capsys):
    output = tmp_path / "run"
    adapt(Request(start, DataSource(drawn), output, rounds=1), CPU)
    assert "clustering, fitted to these crops: k1 " in capsys.readouterr().out
    file = output / FIT_NAME
    kept = json.loads(file.read_text())
    kept["chosen"] |= {"k1": 5, "eps": 0.55}
    file.write_text(json.dumps(kept))
    request = Request(start, DataSource(drawn), output, rounds=2)
    adapt(request, CPU, resume=True)
    assert "clustering, as before: k1 5, " in capsys.readouterr().out
    trained = load_checkpoint(output / "rounds" / "02").config.clustering
    assert (trained.k1, trained.eps) == (5, 0.55)
    with pytest.raises(InvalidInput, match="resume with the same"):
        adapt(replace(request, asked=Asked(k1=8)), CPU, resume=True)


def test_the_command_passes_on_what_is_asked_for(monkeypatch, tmp_path):
    given = []

    def note(request, device, *, resume):
        given.append(request.asked)
        return Adaptation(tmp_path, best=0, start=0.5, agreement=0.5, better=False)

    monkeypatch.setattr("training.adapt.adaptation.adapt", note)
    paths = ["adapt", "--model", "m", "--data", "d", "--output", "o"]
    for more in ([], ["--k1", "6", "--k2", "2", "--eps", "0.4", "--min-samples", "3"]):
        assert CliRunner().invoke(app, [*paths, *more], catch_exceptions=False).exit_code == 0
    assert given == [Asked(), Asked(6, 2, 0.4, 3)]
