"""A run may start from an exported model, as from the run that it came from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import NETWORK, ONE_STEP, TINY, as_arguments
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from service.model.manifest import read_manifest, write_manifest
from training.__main__ import app
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, read_config
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.networks.embedder import TorchEmbedder, open_embedder, start_embedder
from training.networks.exported import MIN_COSINE, start_network
from training.networks.provenance import identity_labels

CPU = torch.device("cpu")


def starting_from(model: Path, **changes: object) -> TrainConfig:
    return read_config(None, NETWORK | {"model.weights": str(model)} | changes)


@pytest.fixture(scope="module")
def crops(drawn: Path) -> np.ndarray:
    return load_images(read_dataset(DataSource(drawn)).train, 64, 32).pixels


def test_the_network_starts_with_the_exported_embeddings(exported, crops):
    network = start_network(starting_from(exported), crops)
    assert network.training
    found = TorchEmbedder(network.eval(), 64, 32, CPU).embed(crops)
    expected = open_embedder(exported, CPU).embed(crops)
    assert (found * expected).sum(axis=1).min() >= MIN_COSINE


def test_a_run_on_larger_crops_starts_with_the_same_weights(exported, crops, drawn):
    larger = load_images(read_dataset(DataSource(drawn)).train, 96, 48).pixels
    network = start_network(
        starting_from(exported, **{"model.height": 96, "model.width": 48}), larger
    )
    found = TorchEmbedder(network.eval(), 64, 32, CPU).embed(crops)
    expected = open_embedder(exported, CPU).embed(crops)
    assert (found * expected).sum(axis=1).min() >= MIN_COSINE


def test_frozen_stages_fit_too(exported, crops):
    network = start_network(starting_from(exported, **{"model.frozen_stages": 3}), crops)
    found = TorchEmbedder(network.eval(), 64, 32, CPU).embed(crops)
    expected = open_embedder(exported, CPU).embed(crops)
    assert (found * expected).sum(axis=1).min() >= MIN_COSINE


@pytest.mark.parametrize("changes", [{"model.backbone": "mobilenet_v2"}, {"method": "scl"}])
def test_another_network_is_refused_by_name(exported, crops, changes):
    with pytest.raises(InvalidInput, match=f"--weights {exported}: its network differs"):
        start_network(starting_from(exported, **changes), crops)


def test_a_resumed_run_does_not_read_the_model(crops):
    start_network(starting_from(Path("moved/away")), crops, resumed=True)


def test_the_command_trains_from_the_model_and_resumes_without_it(exported, drawn, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    output = tmp_path / "run"
    command = ["train", "--data", str(drawn), "--output", str(output)]
    command += as_arguments(TINY | ONE_STEP | {"model.weights": model})
    assert CliRunner().invoke(app, command).exit_code == 0
    checkpoint = load_checkpoint(output)
    assert checkpoint.config.model.weights == str(model)
    assert checkpoint.identity_labels == "none"
    shutil.move(model, tmp_path / "elsewhere")
    resumed = CliRunner().invoke(app, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output


def test_labels_behind_the_model_are_behind_the_run(exported, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    labels = {"identity_labels": "of synthetic people only"}
    write_manifest(model, read_manifest(model).model_copy(update=labels))
    assert identity_labels(starting_from(model)) == "of synthetic people only"


def test_before_training_such_a_run_is_measured_with_the_model(exported, crops):
    start = start_embedder(starting_from(exported), None, CPU)
    expected = open_embedder(exported, CPU).embed(crops)
    np.testing.assert_array_equal(start.embed(crops), expected)
