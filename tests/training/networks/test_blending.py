"""A blend lies between a run and its start, and says what either of them has learned from."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from tiny_run import NETWORK
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import Conflict, InvalidInput
from training.__main__ import app
from training.core.checkpoint import (
    FILE_NAME,
    START_FILE,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from training.core.config import read_config
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.networks.blending import blend, start_of
from training.networks.embedder import open_embedder
from training.networks.exported import start_network

CPU = torch.device("cpu")
REAL, SYNTHETIC = "of real people", "of synthetic people only"


def checkpoint(value: float, weights: str = "none", **network: torch.Tensor) -> Checkpoint:
    config = read_config(None, NETWORK | {"model.weights": weights})
    tensors = {"w": torch.full((2,), value), "n": torch.tensor(7)} | network
    return Checkpoint(1, config, tensors, {}, {})


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.75, 2.5), (1.0, 3.0)])
def test_weights_lie_between_and_counters_are_the_runs(share, expected):
    start = checkpoint(1.0, n=torch.tensor(0))
    mixed = blend(start, checkpoint(3.0), share)
    assert mixed.network["w"].tolist() == [expected, expected]
    assert mixed.network["n"].item() == 7


@pytest.mark.parametrize(
    ("other", "named"),
    [({"w": torch.zeros(3)}, "w"), ({"more": torch.zeros(1)}, "more")],
)
def test_different_networks_are_refused(other, named):
    with pytest.raises(InvalidInput, match=f"tensors differ, such as {named}"):
        blend(checkpoint(1.0), checkpoint(3.0, **other), 0.5)


@pytest.mark.parametrize(
    ("start", "run", "said"),
    [
        ("none", "none", "none"),
        (SYNTHETIC, "none", SYNTHETIC),
        ("none", SYNTHETIC, SYNTHETIC),
        (REAL, SYNTHETIC, REAL),
        ("not known", SYNTHETIC, "not known"),
    ],
)
def test_the_labels_of_both_are_behind_the_blend(start, run, said):
    one = replace(checkpoint(1.0), identity_labels=start)
    mixed = blend(one, replace(checkpoint(3.0), identity_labels=run), 0.5)
    assert mixed.identity_labels == said


def test_a_run_finds_the_earlier_run_that_it_started_from(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    save_checkpoint(tmp_path / "first", checkpoint(1.0))
    trained = checkpoint(3.0, str(tmp_path / "first"))
    save_checkpoint(tmp_path / "second", trained)
    for run in (tmp_path / "second", tmp_path / "second" / FILE_NAME):
        assert start_of(run, trained).network["w"].tolist() == [1.0, 1.0]


def test_what_another_run_left_in_the_folder_is_no_start(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    save_checkpoint(tmp_path / "first", checkpoint(1.0))
    save_checkpoint(tmp_path / "second", checkpoint(9.0, "models/other"), START_FILE)
    trained = checkpoint(3.0, str(tmp_path / "first"))
    assert start_of(tmp_path / "second", trained).network["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("weights", ["none", "default", "weights.pth"])
def test_a_run_from_other_weights_needs_the_start_by_name(tmp_path, weights):
    with pytest.raises(InvalidInput, match=f"started from '{weights}'.*name the start"):
        start_of(tmp_path, checkpoint(3.0, weights))


def test_what_was_read_back_from_an_exported_model_is_kept_for_it(exported, drawn, tmp_path):
    crops = load_images(read_dataset(DataSource(drawn)).train, 64, 32).pixels
    config = read_config(None, NETWORK | {"model.weights": str(exported)})
    network = start_network(config, crops, keep=tmp_path)
    kept = load_checkpoint(tmp_path / START_FILE)
    assert kept.network.keys() == network.state_dict().keys()
    assert all(torch.equal(kept.network[k], v) for k, v in network.state_dict().items())
    trained = replace(kept, epoch=1)
    assert start_of(tmp_path, trained).epoch == 0
    (tmp_path / START_FILE).unlink()
    with pytest.raises(InvalidInput, match=f"kept no {START_FILE}; name the start"):
        start_of(tmp_path, trained)


def test_a_blend_is_used_like_a_run(run_folder, drawn, tmp_path):
    earlier = load_checkpoint(run_folder)
    moved = {
        name: tensor + 0.02 if name.endswith("weight") else tensor
        for name, tensor in earlier.network.items()
    }
    config = replace(
        earlier.config, model=replace(earlier.config.model, weights=str(tmp_path / "start"))
    )
    shutil.copytree(run_folder, tmp_path / "start")
    (tmp_path / "run").mkdir()
    save_checkpoint(tmp_path / "run", replace(earlier, config=config, network=moved))
    command = ["blend", "--run", str(tmp_path / "run"), "--share", "0"]
    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "blended")])
    assert done.exit_code == 0, done.output
    crops = load_images(read_dataset(DataSource(drawn)).query, 64, 32).pixels
    found, expected = (
        open_embedder(folder, CPU).embed(crops) for folder in (tmp_path / "blended", run_folder)
    )
    assert (found == expected).all()
    again = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "blended")])
    assert isinstance(again.exception, Conflict)
    elsewhere = [*command, "--output", str(tmp_path / "other"), "--start", str(tmp_path / "gone")]
    assert isinstance(CliRunner().invoke(app, elsewhere).exception, InvalidInput)
    assert not (tmp_path / "other").exists()
