"""A quantised model keeps the contract and the float model's judgement, and says what it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)

from service.embedding.onnx_embedder import OnnxEmbedder as ServiceEmbedder
from service.errors import ArtifactError, Conflict, InvalidInput
from service.model.contract import check_model
from service.model.manifest import MANIFEST_NAME, read_manifest, sha256_of
from training.data.datasets import Dataset
from training.export.card import CARD_NAME
from training.export.quantising import QuantiseOptions, quantise_model
from training.measure.held_out import load_held_out, read_held_out
from training.networks.embedder import open_onnx
from training.networks.exported import read_exported

EIGHT_BITS = QuantiseOptions("drawn-people-int8", least_cosine=0.98)


@pytest.fixture(scope="module")
def people(drawn: Path) -> Dataset:
    return read_held_out([drawn])[0]


@pytest.fixture(scope="module")
def quantised(exported: Path, people: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "drawn-people-int8"
    quantise_model(exported, [people], folder, EIGHT_BITS)
    return folder


def embedded(model: Path, people: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The crops of the query, and their embeddings by the service's code."""
    manifest = read_manifest(model)
    network = open_onnx(model / manifest.file, manifest)
    crops = load_held_out(people, network).query.pixels
    return crops, ServiceEmbedder(model, device="cpu").embed(crops)


def test_the_service_runs_it_and_it_is_much_smaller(quantised, exported):
    assert check_model(quantised) == []
    sizes = [(folder / "model.onnx").stat().st_size for folder in (quantised, exported)]
    assert sizes[0] < sizes[1] / 3


def test_embeddings_agree_with_the_float_model(quantised, exported, people):
    crops, own = embedded(quantised, people)
    _, whole = embedded(exported, people)
    assert (own * whole).sum(axis=1).mean() > 0.97
    assert not np.array_equal(own, whole)
    alone = ServiceEmbedder(quantised, device="cpu").embed(crops[:1])
    np.testing.assert_allclose(alone, own[:1], atol=1e-5)


def test_manifest_and_card_tell_of_both(quantised, exported):
    manifest, whole = read_manifest(quantised), read_manifest(exported)
    made = manifest.quantised
    assert made is not None
    assert (made.name, made.sha256) == (whole.name, whole.sha256)
    assert made.cosine >= EIGHT_BITS.least_cosine
    assert made.accuracy == whole.accuracy
    assert len(manifest.accuracy) == len(whole.accuracy)
    assert manifest.calibration is not None
    assert manifest.sha256 == sha256_of(quantised / "model.onnx") != whole.sha256
    assert manifest.recipe == whole.recipe
    card = (quantised / CARD_NAME).read_text(encoding="utf-8")
    assert f"Made from `drawn-people`: {made.convolutions} of" in card
    assert "The float model, `drawn-people`:" in card
    assert whole.quantised is None
    assert "## Precision" not in (exported / CARD_NAME).read_text(encoding="utf-8")


def test_the_same_crops_give_the_same_bytes_with_any_labels(quantised, exported, people, tmp_path):
    unknown = [replace(sample, identity=0) for sample in people.train]
    blind = replace(people, train=unknown)
    quantise_model(exported, [blind], tmp_path / "blind", EIGHT_BITS)
    assert sha256_of(tmp_path / "blind/model.onnx") == sha256_of(quantised / "model.onnx")


def test_one_that_differs_too_much_is_refused_and_leaves_nothing(exported, people, tmp_path):
    demanding = QuantiseOptions("int8", least_cosine=1.0)
    few = replace(people, train=people.train[:64])
    with pytest.raises(ArtifactError, match=r"must be 1$"):
        quantise_model(exported, [few], tmp_path / "int8", demanding)
    assert list(tmp_path.iterdir()) == []


def test_it_is_quantised_once(quantised, people, tmp_path):
    with pytest.raises(InvalidInput, match="is quantised already: begin with drawn-people"):
        quantise_model(quantised, [people], tmp_path / "twice", EIGHT_BITS)


def test_nothing_is_overwritten_unasked(quantised, exported, people):
    with pytest.raises(Conflict, match="--overwrite"):
        quantise_model(exported, [people], quantised, EIGHT_BITS)


def test_too_few_crops_give_no_ranges(exported, people, tmp_path):
    few = replace(people, train=people.train[:10])
    with pytest.raises(InvalidInput, match="takes 64 training crops or more, and the data has 10"):
        quantise_model(exported, [few], tmp_path / "int8", EIGHT_BITS)


def test_a_network_without_convolutions_is_refused(exported, people, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(exported, folder)
    pixels = make_tensor_value_info("images", TensorProto.UINT8, ["N", 64, 32, 3])
    rows = make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 64 * 32 * 3])
    nodes = [
        make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        make_node("Flatten", ["floats"], ["flat"]),
        make_node("LpNormalization", ["flat"], ["embeddings"], axis=1),
    ]
    graph = make_graph(nodes, "plain", [pixels], [rows])
    opset = [make_opsetid("", 20)]
    onnx.save(make_model(graph, opset_imports=opset, ir_version=10), folder / "model.onnx")
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    changed = {"sha256": sha256_of(folder / "model.onnx"), "dimension": 64 * 32 * 3}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest | changed))
    with pytest.raises(ArtifactError, match="has no convolution"):
        quantise_model(folder, [people], tmp_path / "int8", EIGHT_BITS)
    assert not (tmp_path / "int8").exists()


def test_training_begins_with_the_float_model(quantised, people):
    crops, _ = embedded(quantised, people)
    with pytest.raises(ArtifactError, match="begin with the float model, drawn-people"):
        read_exported(quantised, crops)


def test_the_command_prints_both_accuracies(training, exported, drawn, tmp_path):
    words = ("--model", exported, "--output", tmp_path / "small", "--data", drawn)
    status, out, err = training("quantize", *words, "--least-cosine", 0.9)
    assert status == 0, err
    assert out.index("drawn-people:") < out.index("small:") < out.index("quantised: ")
    assert read_manifest(tmp_path / "small").name == "small"


def test_an_export_writes_both_models(training, run_folder, drawn, tmp_path):
    words = ("--run", run_folder, "--output", tmp_path / "people", "--quantize")
    status, _, err = training("export", *words)
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "--quantize needs --data" in err
    status, _, err = training("export", *words, "--data", drawn)
    assert status == 0, err
    whole, small = (read_manifest(tmp_path / name) for name in ("people", "people-int8"))
    assert small.quantised is not None
    assert (small.quantised.sha256, small.name) == (whole.sha256, "people-int8")
