"""Pretraining learns, resumes exactly, and says everywhere whose labels were used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import ONE_STEP, TINY, as_arguments
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the train extra is not installed")

import training.hhcl.loop as hhcl_loop
from service.errors import InvalidInput
from service.model.manifest import MANIFEST_NAME, read_manifest
from training.__main__ import app
from training.adapt.adaptation import adapt
from training.adapt.plan import Plan, choose_plan
from training.adapt.request import Request
from training.core.checkpoint import load_checkpoint, save_checkpoint
from training.core.config import read_config
from training.data.datasets import DataSource
from training.export.card import CARD_NAME
from training.export.model_folder import ExportOptions, export_model
from training.hhcl.loop import run
from training.networks.provenance import identity_labels
from training.scl.loop import run as run_scl
from training.synthetic.dataset import NOTE

CPU = torch.device("cpu")
SYNTHETIC = "of synthetic people only"
LEARNING = TINY | {
    "augment.erasing": 0.0,
    "augment.padding": 2,
    "batch.crops": 4,
    "memory.triplet_weight": 0.5,
    "schedule.iterations": 10,
    "schedule.epochs": 3,
    "evaluation.every": 1,
}
STEP = LEARNING | ONE_STEP | {"batch.crops": 2}


def config(settings=LEARNING, **changes):
    return read_config(None, settings | {name.replace("__", "."): v for name, v in changes.items()})


def one_step(weights: Path | str, **changes):
    return config(STEP, model__weights=str(weights), **changes)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def pretrained(drawn, tmp_path_factory) -> Path:
    settings = config(data__synthetic=(str(drawn),))
    return run(settings, tmp_path_factory.mktemp("runs") / "pretrained", CPU).parent


@pytest.fixture(scope="module")
def street(drawn, tmp_path_factory) -> Path:
    """The drawn people as if they were real ones."""
    folder = shutil.copytree(drawn, tmp_path_factory.mktemp("real") / "street")
    (folder / NOTE).unlink()
    return folder


def test_pretraining_learns_to_tell_unseen_people_apart(pretrained):
    lines = metrics(pretrained)
    losses = [line["loss"] for line in lines]
    curve = [line["map"]["cross-camera"] for line in lines]
    print("losses", losses, "mAP", curve)
    assert losses[-1] < losses[0] - 0.2
    assert curve[-1] > curve[0] + 0.05
    assert all(line["clusters"]["clusters"] == 12 for line in lines)
    assert all(line["clusters"]["outliers"] == 0 for line in lines)


def test_identities_are_not_compared_with_themselves(pretrained):
    clusters = metrics(pretrained)[-1]["clusters"]
    assert clusters["clusters"] > 1
    assert (clusters["nmi"], clusters["ari"], clusters["across"]) == (None, None, None)


def test_an_interrupted_run_ends_with_the_same_weights(quick_network, drawn, tmp_path, monkeypatch):
    short = {"schedule__iterations": 2, "schedule__epochs": 2, "data__synthetic": (str(drawn),)}
    settings = config(LEARNING | quick_network, **short, evaluation__every=0)
    run(settings, tmp_path / "whole", CPU)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(hhcl_loop, "keep_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "run", CPU)
    assert load_checkpoint(tmp_path / "run").epoch == 1
    run(settings, tmp_path / "run", CPU, resume=True)
    whole, again = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "run")
    for name, tensor in whole.network.items():
        torch.testing.assert_close(tensor, again.network[name], rtol=0, atol=0)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert again.identity_labels == SYNTHETIC


@pytest.mark.parametrize("negatives", ["all", "same-camera"])
@pytest.mark.parametrize("kind", ["hybrid", "hybrid-instances"])
def test_unlabelled_and_synthetic_crops_train_together(
    quick_network, street, drawn, tmp_path, kind, negatives
):
    sources = {"data__path": str(street), "data__synthetic": (str(drawn),)}
    memory = {
        "memory__kind": kind,
        "memory__negatives": negatives,
        "memory__proxy_weight": 0.5,
        "clustering__scheme": "camera-link",
    }
    run(config(STEP | quick_network, **sources, **memory), tmp_path / "run", CPU)
    (line,) = metrics(tmp_path / "run")
    assert line["clusters"]["clusters"] >= 2
    assert line["clusters"]["nmi"] < 1  # of the unlabelled crops only
    assert 0 < line["loss"] < 20
    assert load_checkpoint(tmp_path / "run").identity_labels == SYNTHETIC


def test_a_part_of_a_batch_that_cannot_be_filled_is_told(
    quick_network, street, drawn, tmp_path, capsys
):
    sources = {"data__path": str(street), "data__synthetic": (str(drawn),)}
    run(config(STEP | quick_network, **sources, batch__clusters=40), tmp_path / "run", CPU)
    told = capsys.readouterr().out
    assert "12 synthetic people, fewer than their part of batch.clusters = 20: every batch" in told


def short_plan(*given) -> Plan:
    return replace(choose_plan(*given), epochs=1, iterations=1)


def test_labels_of_synthetic_people_are_told_through_every_generation(
    pretrained, street, tmp_path, monkeypatch
):
    first = run(one_step(pretrained, data__path=str(street)), tmp_path / "first", CPU)
    second = run(one_step(first, data__path=str(street)), tmp_path / "second", CPU)
    checkpoint = load_checkpoint(second)
    assert checkpoint.identity_labels == SYNTHETIC
    assert not checkpoint.config.data.synthetic
    export_model(checkpoint, [], tmp_path / "second-model", ExportOptions("second"))
    assert read_manifest(tmp_path / "second-model").identity_labels == SYNTHETIC
    card = (tmp_path / "second-model" / CARD_NAME).read_text()
    assert "\nidentity labels: of synthetic people only\n" in card
    assert "without identity labels, from weights pretrained on" in " ".join(card.split())

    monkeypatch.setattr("training.adapt.adaptation.choose_plan", short_plan)
    request = Request(tmp_path / "second-model", DataSource(street), tmp_path / "third", rounds=1)
    adapted = load_checkpoint(adapt(request, CPU).checkpoint)
    assert adapted.identity_labels == SYNTHETIC
    assert load_checkpoint(tmp_path / "third/rounds/01").identity_labels == SYNTHETIC


def test_without_synthetic_people_there_are_no_labels(quick_network, street, exported, tmp_path):
    plain = run(config(STEP | quick_network, data__path=str(street)), tmp_path / "run", CPU)
    assert load_checkpoint(plain).identity_labels == "none"
    assert read_manifest(exported).identity_labels == "none"
    assert "\nidentity labels: none\n" in (exported / CARD_NAME).read_text()


def test_the_exported_recipe_names_the_folder_and_no_path(pretrained, drawn, tmp_path):
    export_model(load_checkpoint(pretrained), [], tmp_path / "model", ExportOptions("pretrained"))
    manifest = read_manifest(tmp_path / "model")
    assert manifest.recipe["data"]["synthetic"] == [drawn.name]
    assert manifest.training_data == f"{drawn.name}: its synthetic people, with their identities"
    assert str(drawn) not in (tmp_path / "model" / MANIFEST_NAME).read_text()


def test_files_of_older_versions_have_no_labels(run_folder, exported, tmp_path):
    state = torch.load(run_folder / "checkpoint.pt", weights_only=True)
    del state["identity_labels"], state["config"]["data"]["synthetic"]
    torch.save(state, tmp_path / "checkpoint.pt")
    older = load_checkpoint(tmp_path)
    assert older.identity_labels == "none"
    assert older.config == load_checkpoint(run_folder).config
    model = shutil.copytree(exported, tmp_path / "model")
    tree = json.loads((model / MANIFEST_NAME).read_text())
    del tree["identity_labels"], tree["recipe"]["data"]["synthetic"]
    (model / MANIFEST_NAME).write_text(json.dumps(tree))
    assert read_manifest(model).identity_labels == "none"


def test_a_checkpoint_file_tells_as_much_as_its_folder(pretrained, tmp_path):
    save_checkpoint(tmp_path, replace(load_checkpoint(pretrained), epoch=2))
    for weights in (tmp_path, tmp_path / "checkpoint.pt"):
        assert identity_labels(config(model__weights=str(weights))) == SYNTHETIC


def test_scl_has_no_place_for_labels(drawn, tmp_path):
    with pytest.raises(InvalidInput, match="method = 'scl'"):
        run_scl(config(method="scl", data__synthetic=(str(drawn),)), tmp_path / "run", CPU)


def test_a_mixed_batch_needs_two_clusters(street, drawn, tmp_path):
    changes = {"data__path": str(street), "data__synthetic": (str(drawn),), "batch__clusters": 1}
    with pytest.raises(InvalidInput, match=r"batch\.clusters = 1"):
        run(config(**changes), tmp_path / "run", CPU)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "method=scl"], "pretrain needs 'hhcl'"),
        (["--set", "data.path=street"], "pretrain takes synthetic people only"),
        (["--epochs", "0"], "schedule.epochs"),
    ],
)
def test_pretrain_says_what_it_cannot_do(drawn, tmp_path, arguments, message):
    command = ["pretrain", "--data", str(drawn), "--output", str(tmp_path / "run"), *arguments]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)


def test_pretrain_refuses_real_people(street, tmp_path):
    command = ["pretrain", "--data", str(street), "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*command, "--weights", "none", "--device", "cpu"])
    assert isinstance(result.exception, InvalidInput)
    assert "no folder of synthetic people" in str(result.exception)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_commands_train_on_synthetic_people(quick_network, drawn, street, tmp_path, mixed):
    options = as_arguments(STEP | quick_network)
    data = ["--data", str(street), "--synthetic", str(drawn)] if mixed else ["--data", str(drawn)]
    command = ["train" if mixed else "pretrain", *data, "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*command, *options, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    found = load_checkpoint(tmp_path / "run").config.data
    assert found.synthetic == (str(drawn),)
    assert bool(found.path) == mixed
