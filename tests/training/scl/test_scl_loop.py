"""SCL's loop: what a run writes, resuming, and a model that the service opens."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_run import NETWORK

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.embedding.onnx_embedder import OnnxEmbedder
from service.errors import InvalidInput
from service.model.contract import check_model
from service.model.manifest import read_manifest
from training.core.checkpoint import SELECTED_NAME, load_checkpoint
from training.core.config import TrainConfig, read_config
from training.core.method_options import SclOptions
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.export.model_folder import ExportOptions, export_model
from training.networks.building import restore_network
from training.networks.embedder import open_embedder
from training.scl import loop
from training.scl.loop import run, shuffled_batches
from training.scl.network import PartNetwork

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[3] / "training/configs"
SETTINGS = {
    "method": "scl",
    "augment.padding": 0,
    "augment.erasing": 0,
    "selective.stripes": 3,
    "selective.global_size": 24,
    "selective.local_size": 8,
    "selective.positives": 2,
    "selective.negatives": 20,
    "selective.warmup_epochs": 1,
    "schedule.optimiser": "sgd",
    "schedule.learning_rate": 0.001,
    "schedule.epochs": 2,
    "schedule.iterations": 3,
    "evaluation.every": 2,
}


def config(data: Path, **changes) -> TrainConfig:
    return read_config(None, NETWORK | SETTINGS | {"data.path": str(data)} | changes)


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(drawn, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "scl"
    run(config(drawn), folder, CPU)
    return folder


def test_a_run_leaves_metrics_banks_and_a_network(finished, drawn):
    first, second = metrics(finished)
    assert first["clusters"] is None
    assert first["loss"] > second["loss"] * 0.1 > 0
    assert (first["map"], first["learning_rate"]) == ({}, 0.001)
    protocols = ("market1501", "cross-camera")
    assert set(second["map"]) == {
        f"{protocol}{form}" for protocol in protocols for form in ("", " parts", " parts+camera")
    }
    of_cameras = [second["map"][f"cross-camera parts{form}"] for form in ("", "+camera")]
    assert of_cameras[0] == of_cameras[1]  # no crop of the query's camera is left to move
    checkpoint = load_checkpoint(finished)
    network = restore_network(checkpoint)
    assert isinstance(network, PartNetwork)
    assert network.dimension == 48
    count = len(read_dataset(DataSource(drawn)).train)
    shapes = {name: tuple(bank.shape) for name, bank in checkpoint.banks.items()}
    assert shapes == {"whole": (count, 24), "stripes": (count, 3, 8), "mixture": (count, 24)}
    written = checkpoint.banks["mixture"].norm(dim=1) > 0
    assert 0 < int(written.sum()) < count
    torch.testing.assert_close(checkpoint.banks["whole"].norm(dim=1), torch.ones(count))


def test_the_very_first_loss_is_the_zero_banks(drawn, tmp_path):
    """One batch, before anything is written: lambda_t * ln(1 + K + n)."""
    changes = {"schedule.epochs": 1, "schedule.iterations": 1, "evaluation.every": 0}
    run(config(drawn, **changes), tmp_path / "run", CPU)
    (line,) = metrics(tmp_path / "run")
    assert line["loss"] == pytest.approx(0.5 * math.log(1 + 2 + 20), abs=1e-5)


def test_an_interrupted_run_ends_the_same(drawn, finished, tmp_path, monkeypatch):
    output, whole_epoch = tmp_path / "run", loop.train_one_epoch

    def interrupted(state, contrast, crops, settings, epoch):
        loss = whole_epoch(state, contrast, crops, settings, epoch)
        if epoch == 2:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(loop, "train_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config(drawn), output, CPU)
    monkeypatch.undo()
    assert load_checkpoint(output).epoch == 1
    with pytest.raises(InvalidInput, match="--resume continues it"):
        run(config(drawn), output, CPU)
    with pytest.raises(InvalidInput, match="other options for seed"):
        run(config(drawn, seed=9), output, CPU, resume=True)
    run(config(drawn), output, CPU, resume=True)
    assert metrics(output) == metrics(finished)
    ended, wanted = load_checkpoint(output), load_checkpoint(finished)
    for part in ("network", "banks"):
        for name, tensor in getattr(wanted, part).items():
            torch.testing.assert_close(getattr(ended, part)[name], tensor, rtol=0, atol=0)


def test_a_run_killed_between_its_two_files_still_keeps_the_best_network(drawn, tmp_path):
    chosen = config(drawn, **{"evaluation.select": "validation", "schedule.epochs": 1})
    run(chosen, tmp_path, CPU)
    (tmp_path / SELECTED_NAME).unlink()
    run(chosen, tmp_path, CPU, resume=True)
    assert load_checkpoint(tmp_path / SELECTED_NAME).epoch == 1


def test_zero_iterations_mean_every_crop_once(drawn, tmp_path):
    changes = {"schedule.epochs": 1, "schedule.iterations": 0, "evaluation.every": 0}
    run(config(drawn, **changes), tmp_path / "run", CPU)
    assert (load_checkpoint(tmp_path / "run").banks["mixture"].norm(dim=1) > 0.999).all()


@pytest.mark.parametrize(
    ("count", "sizes"), [(16, [8, 8]), (19, [8, 8, 3]), (17, [8, 9]), (5, [5])]
)
def test_batches_contain_every_crop_once_and_no_batch_has_only_one(count, sizes):
    batches = shuffled_batches(count, 8, np.random.default_rng(0))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.pooling": "gem"}, "model.pooling = 'gem'"),
        ({"warmup.epochs": 1}, "selective.warmup_epochs"),
        ({"model.compile": True}, "model.compile"),
        ({"model.precision": "bfloat16"}, "model.precision = 'bfloat16'"),
        ({"selective.global_size": 32}, "stripes x local_size = 24"),
        ({"selective.positives": 500}, "too few"),
    ],
)
def test_options_of_the_other_method_are_rejected(drawn, tmp_path, changes, message):
    with pytest.raises(InvalidInput, match=message):
        run(config(drawn, **changes), tmp_path / "run", CPU)


def test_the_service_opens_an_exported_run(finished, drawn, tmp_path):
    """The map has four rows for three stripes; the graph must still be exact."""
    folder = tmp_path / "scl"
    exported = export_model(load_checkpoint(finished), [], folder, ExportOptions("scl"))
    assert exported.parity.cosine > 0.9999
    manifest = read_manifest(folder)
    assert (manifest.dimension, manifest.recipe["method"]) == (48, "scl")
    assert check_model(folder) == []
    images = load_images(read_dataset(DataSource(drawn)).query[:5], 64, 32).pixels
    served = OnnxEmbedder(folder, device="cpu").embed(images)
    np.testing.assert_allclose(served, open_embedder(finished, CPU).embed(images), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)


def test_the_shipped_config_is_the_released_recipe():
    shipped = read_config(CONFIGS / "scl-market1501.toml", {})
    assert (shipped.method, shipped.selective) == ("scl", SclOptions())
    schedule, augment = shipped.schedule, shipped.augment
    assert (schedule.optimiser, schedule.epochs, schedule.iterations) == ("sgd", 50, 0)
    assert (schedule.learning_rate, schedule.weight_decay, schedule.step) == (1e-3, 5e-4, 200)
    assert (augment.flip, augment.padding, augment.erasing) == (0.5, 0, 0)
    assert (shipped.model.height, shipped.model.width, shipped.model.last_stride) == (256, 128, 1)
