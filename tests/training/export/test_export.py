"""A model folder is complete or absent, has the checkpoint's network, and contains no path."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from service.embedding.onnx_embedder import OnnxEmbedder as ServiceEmbedder
from service.errors import ArtifactError, Conflict, InvalidInput
from service.model.contract import check_model
from service.model.manifest import Manifest, read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import parse_config
from training.export.card import CARD_NAME, format_card
from training.export.model_folder import ExportOptions, complete_or_nothing, export_model
from training.export.onnx_file import BATCHES, check_parity
from training.measure.calibration import count_pairs
from training.measure.held_out import embed_held_out, load_held_out, measure, read_held_out
from training.networks.embedder import open_embedder, open_onnx
from training.networks.exported import MIN_COSINE

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[3]


def test_the_folder_is_complete_and_nothing_else_is_left(exported: Path) -> None:
    assert {file.name for file in exported.iterdir()} == {"manifest.json", "model.onnx", CARD_NAME}
    assert [folder.name for folder in exported.parent.iterdir()] == [exported.name]


def test_the_service_finds_nothing_wrong(exported: Path) -> None:
    assert check_model(exported) == []


def test_the_service_embeds_as_the_checkpoint_does(
    exported: Path, run_folder: Path, drawn: Path
) -> None:
    trained = open_embedder(run_folder, CPU)
    crops = load_held_out(read_held_out([drawn])[0], trained).gallery.pixels
    served = ServiceEmbedder(exported, device="cpu")
    cosines = (served.embed(crops) * trained.embed(crops)).sum(axis=1)
    assert cosines.min() >= MIN_COSINE


def test_the_graph_is_one_file_with_a_free_batch(exported: Path) -> None:
    model = onnx.load(exported / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    (images,), (embeddings,) = model.graph.input, model.graph.output
    assert (images.name, embeddings.name) == ("images", "embeddings")
    batch, *crop = images.type.tensor_type.shape.dim
    assert batch.dim_param == embeddings.type.tensor_type.shape.dim[0].dim_param == "N"
    assert [side.dim_value for side in crop] == [64, 32, 3]
    assert all(
        tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer
    )
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == 20


def test_no_path_of_this_machine_is_exported(exported: Path, drawn: Path) -> None:
    graph = (exported / "model.onnx").read_bytes()
    texts = [file.read_bytes() for file in exported.iterdir() if file.name != "model.onnx"]
    for folder in (ROOT, drawn.parent, exported.parent):
        assert not any(str(folder).encode() in content for content in (graph, *texts))
    assert b"stack_trace" not in graph
    assert b'File "' not in graph


def test_the_manifest_states_the_run(exported: Path, run_folder: Path, drawn: Path) -> None:
    manifest = read_manifest(exported)
    config = load_checkpoint(run_folder).config
    told = parse_config(manifest.recipe, "recipe")
    assert told == replace(config, data=replace(config.data, path=drawn.name))
    assert (manifest.input_height, manifest.input_width, manifest.dimension) == (64, 32, 512)
    assert manifest.training_data == f"{drawn.name}: its training crops, without any label"
    assert (manifest.trained_epochs, manifest.recipe["schedule"]["epochs"]) == (3, 3)
    assert manifest.licence == "Apache-2.0"
    assert (exported / CARD_NAME).read_text() == format_card(manifest, "Drawn only.")


def test_accuracy_and_calibration_match_the_checkpoint(
    exported: Path, run_folder: Path, drawn: Path
) -> None:
    manifest = read_manifest(exported)
    trained = open_embedder(run_folder, CPU)
    held_out = embed_held_out(trained, load_held_out(read_held_out([drawn])[0], trained))
    measured = measure(held_out, ("market1501", "cross-camera"))
    for told, found in zip(manifest.accuracy, measured, strict=True):
        assert (told.data, told.protocol, told.queries) == ("people", found.protocol, found.queries)
        assert told.map == pytest.approx(found.map, abs=1e-3)
    assert manifest.calibration
    data = held_out.dataset
    pairs = count_pairs(held_out.query, data.query, held_out.gallery, data.gallery)
    assert manifest.calibration.genuine_pairs == pairs.genuine.sum()
    assert manifest.calibration.impostor_pairs == pairs.impostor.sum()
    assert manifest.calibration.false_match_rate <= 0.01
    assert manifest.calibration.data.startswith("people: ")


def test_data_that_is_only_measured_calibrates_nothing(
    run_folder: Path, drawn: Path, tmp_path: Path
) -> None:
    again = tmp_path / "elsewhere"
    shutil.copytree(drawn, again)
    measured = tuple(read_held_out([again]))
    options = ExportOptions(name="m", only_measured=measured)
    checkpoint = load_checkpoint(run_folder)
    alone = export_model(checkpoint, [], tmp_path / "alone", options).manifest
    assert {line.data for line in alone.accuracy} == {"elsewhere"}
    assert alone.calibration is None
    both = export_model(checkpoint, read_held_out([drawn]), tmp_path / "both", options).manifest
    assert {line.data for line in both.accuracy} == {"people", "elsewhere"}
    assert both.calibration
    assert both.calibration.data.startswith("people: ")


def test_the_network_before_training_is_measured_too(exported: Path) -> None:
    manifest = read_manifest(exported)
    protocols = [line.protocol for line in manifest.accuracy_before]
    assert protocols == ["market1501", "cross-camera"]
    assert manifest.accuracy_before != manifest.accuracy


def test_parity_fails_for_another_network(exported: Path, run_folder: Path, drawn: Path) -> None:
    network = open_onnx(exported / "model.onnx", read_manifest(exported))
    trained = open_embedder(run_folder, CPU)
    crops = load_held_out(read_held_out([drawn])[0], trained).gallery.pixels
    reference = trained.embed(crops)
    assert check_parity(reference, network, crops).cosine >= MIN_COSINE
    reference[5] = reference[6]
    with pytest.raises(ArtifactError, match=r"crop 5 in a batch of 1 has cosine 0\.\d+"):
        check_parity(reference, network, crops)
    reference[5] = np.nan
    with pytest.raises(ArtifactError, match="crop 5 in a batch of 1 has cosine nan"):
        check_parity(reference, network, crops)


def test_parity_fails_if_the_batch_changes_embeddings(build_model) -> None:
    folder = build_model(ending="batch")
    network = open_onnx(folder / "model.onnx", read_manifest(folder))
    crops = np.random.default_rng(0).integers(0, 256, (max(BATCHES), 64, 32, 3)).astype(np.uint8)
    with pytest.raises(ArtifactError, match="in a batch of 7 has cosine"):
        check_parity(network.embed(crops, batch=1), network, crops)


def test_a_manifest_with_another_input_size_is_rejected(exported: Path) -> None:
    manifest = read_manifest(exported).model_copy(update={"input_height": 128})
    with pytest.raises(ArtifactError, match=r"takes images of \[64, 32, 3\]"):
        open_onnx(exported / "model.onnx", manifest)


def test_a_file_that_is_not_a_network_is_rejected(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        open_onnx(tmp_path / "model.onnx", read_manifest(exported))


def test_a_model_is_not_replaced_by_accident(exported: Path, run_folder: Path) -> None:
    before = (exported / "manifest.json").read_bytes()
    with pytest.raises(Conflict, match="--overwrite"):
        export_model(load_checkpoint(run_folder), [], exported, ExportOptions("again"))
    assert (exported / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_is_not_a_model_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with (
        pytest.raises(Conflict, match="neither empty nor a model"),
        complete_or_nothing(tmp_path, overwrite=overwrite),
    ):
        pass
    assert (tmp_path / "diary.txt").exists()


def test_a_failure_leaves_the_old_model(tmp_path: Path) -> None:
    output = tmp_path / "models" / "one"
    with complete_or_nothing(output, overwrite=False) as folder:
        (folder / "manifest.json").write_text("old")
    with pytest.raises(InvalidInput), complete_or_nothing(output, overwrite=True) as folder:
        (folder / "absent").unlink()
    assert (output / "manifest.json").read_text() == "old"
    with complete_or_nothing(output, overwrite=True) as folder:
        (folder / "manifest.json").write_text("new")
    assert (output / "manifest.json").read_text() == "new"
    assert [entry.name for entry in output.parent.iterdir()] == ["one"]


def test_an_invalid_name_is_rejected_before_the_export_starts(
    run_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="name = 'Bad Name'"):
        export_model(load_checkpoint(run_folder), [], tmp_path / "x", ExportOptions("Bad Name"))
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_without_new_fields_still_reads() -> None:
    bare = Manifest(name="a", sha256="0" * 64, input_height=64, input_width=32, dimension=8)
    assert bare.accuracy_before == ()
