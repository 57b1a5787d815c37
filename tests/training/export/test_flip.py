"""A flipped export adds each crop's mirror image: in the graph, when measured, and as it says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from service.embedding.onnx_embedder import OnnxEmbedder as ServiceEmbedder
from service.model.contract import check_model
from service.model.manifest import read_manifest
from training.core.checkpoint import load_checkpoint
from training.export.card import CARD_NAME
from training.export.model_folder import ExportOptions, export_model
from training.measure.held_out import load_held_out, read_held_out
from training.networks.embedder import FlipEmbedder, flipped, open_embedder
from training.networks.exported import MIN_COSINE, read_exported

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flip_model(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``run_folder``, exported with its mirror images and without data."""
    folder = tmp_path_factory.mktemp("models") / "flipped"
    export_model(load_checkpoint(run_folder), [], folder, ExportOptions("flipped", flip=True))
    return folder


@pytest.fixture(scope="module")
def crops(run_folder: Path, drawn: Path) -> np.ndarray:
    embedder = open_embedder(run_folder, CPU)
    return load_held_out(read_held_out([drawn])[0], embedder).query.pixels


def test_the_graph_adds_the_mirror_image(
    flip_model: Path, run_folder: Path, crops: np.ndarray
) -> None:
    trained = open_embedder(run_folder, CPU)
    both = trained.embed(crops) + trained.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    expected = both / np.linalg.norm(both, axis=1, keepdims=True)
    served = ServiceEmbedder(flip_model, device="cpu").embed(crops)
    assert (served * expected).sum(axis=1).min() >= MIN_COSINE
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)
    assert (served * trained.embed(crops)).sum(axis=1).min() < MIN_COSINE  # or nothing was shown


def test_a_crop_and_its_mirror_image_get_the_same_embedding(
    flip_model: Path, run_folder: Path, crops: np.ndarray
) -> None:
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    for model in (open_embedder(flip_model, CPU), flipped(open_embedder(run_folder, CPU), True)):
        np.testing.assert_allclose(model.embed(mirrored), model.embed(crops), atol=1e-5)


def test_the_contract_holds_and_the_size_stays(flip_model: Path, exported: Path) -> None:
    assert check_model(flip_model) == []
    sizes = [(folder / "model.onnx").stat().st_size for folder in (flip_model, exported)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_manifest_and_card_say_it(flip_model: Path, exported: Path) -> None:
    assert read_manifest(flip_model).flip
    assert not read_manifest(exported).flip
    cards = [(folder / CARD_NAME).read_text() for folder in (flip_model, exported)]
    said = ["mirror image" in card and "twice the time" in card for card in cards]
    assert said == [True, False]


def test_a_flipped_model_can_be_trained_further(flip_model: Path, crops: np.ndarray) -> None:
    _, network = read_exported(flip_model, crops)
    assert network.dimension == 512


Training = Callable[..., tuple[int, str, str]]


def test_evaluated_equals_exported(
    training: Training, flip_model: Path, run_folder: Path, exported: Path, drawn: Path
) -> None:
    def figures(*words: object) -> list[tuple[float, float]]:
        status, out, err = training("evaluate", *words, "--data", drawn, "--format", "json")
        assert status == 0, err
        return [(line["map"], line["rank1"]) for line in json.loads(out)["results"]]

    in_graph = figures("--model", flip_model)
    for words in (("--model", run_folder, "--flip"), ("--model", exported, "--flip")):
        np.testing.assert_allclose(figures(*words), in_graph, atol=1e-3)
    assert figures("--model", run_folder) != in_graph


def test_the_network_before_training_is_flipped_too(
    training: Training, run_folder: Path, drawn: Path, tmp_path: Path
) -> None:
    words = ("--run", run_folder, "--output", tmp_path / "m", "--measure", drawn, "--flip")
    status, _, err = training("export", *words, "--before-training")
    assert status == 0, err
    words = ("--model", tmp_path / "m", "--data", drawn, "--before-training", "--format", "json")
    _, out, _ = training("evaluate", *words)
    told = [line.model_dump(mode="json") for line in read_manifest(tmp_path / "m").accuracy_before]
    assert json.loads(out)["results"] == told


def test_only_what_is_asked_for_is_flipped(run_folder: Path) -> None:
    embedder = open_embedder(run_folder, CPU)
    assert flipped(embedder, False) is embedder
    both = flipped(embedder, True)
    assert isinstance(both, FlipEmbedder)
    sizes = (both.height, both.width, both.resize)
    assert sizes == (embedder.height, embedder.width, embedder.resize)
