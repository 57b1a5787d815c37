"""``evaluate``, ``export`` and ``synthesize`` on the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from service.embedding.imaging import decode
from service.model.manifest import read_manifest
from training.core.checkpoint import load_checkpoint, save_checkpoint
from training.measure.held_out import load_held_out, read_held_out
from training.measure.pictures import CONTACT_SHEET
from training.networks.embedder import open_embedder

CommandLine = Callable[..., tuple[int, str, str]]


def results(training: CommandLine, *words: object) -> list[dict[str, object]]:
    status, out, err = training("evaluate", *words, "--format", "json")
    assert status == 0, err
    document = json.loads(out)
    assert document["map_form"] == "finite sum"
    return document["results"]


def test_checkpoint_and_export_agree_within_a_tenth_of_a_point(
    training: CommandLine, run_folder: Path, exported: Path, drawn: Path
) -> None:
    trained = results(training, "--model", run_folder, "--data", drawn)
    shipped = results(training, "--model", exported, "--data", drawn)
    assert [line["protocol"] for line in trained] == ["market1501", "cross-camera"]
    for one, other in zip(trained, shipped, strict=True):
        assert one["map"] == pytest.approx(other["map"], abs=1e-3)
        assert (one["queries"], one["gallery"]) == (other["queries"], other["gallery"])
    told = [line.model_dump(mode="json") for line in read_manifest(exported).accuracy]
    assert shipped == told


def test_before_training_is_the_same_from_run_and_export(
    training: CommandLine, run_folder: Path, exported: Path, drawn: Path
) -> None:
    words = ("--data", drawn, "--before-training", "--protocol", "cross-camera")
    from_run = results(training, "--model", run_folder, *words)
    from_export = results(training, "--model", exported, *words)
    assert from_run == from_export
    told = read_manifest(exported).accuracy_before[1].model_dump(mode="json")
    assert from_run == [told]


def test_rerank_adds_one_line_per_protocol(
    training: CommandLine, exported: Path, drawn: Path
) -> None:
    words = ("--model", exported, "--data", drawn, "--protocol", "market1501", "--rerank")
    lines = results(training, *words)
    assert [(line["protocol"], line["rerank"]) for line in lines] == [
        ("market1501", False),
        ("market1501", True),
    ]
    assert lines[0]["map"] != lines[1]["map"]


@pytest.fixture
def ceiling(run_folder: Path, tmp_path: Path) -> Path:
    """The same network as in ``run_folder``, as if it had learned from labels of real people."""
    folder = tmp_path / "ceiling"
    folder.mkdir()
    known = replace(load_checkpoint(run_folder), identity_labels="of real people")
    save_checkpoint(folder, known)
    return folder


def test_a_ceiling_adds_a_column(
    training: CommandLine, exported: Path, run_folder: Path, ceiling: Path, drawn: Path
) -> None:
    words = ("--data", drawn, "--ceiling", ceiling)
    for line in results(training, "--model", run_folder, *words):
        assert line["share_of_ceiling"] == 1.0
    weak = results(training, "--model", exported, *words, "--before-training")
    best = results(training, "--model", run_folder, "--data", drawn)
    for line, other in zip(weak, best, strict=True):
        assert line["share_of_ceiling"] == pytest.approx(line["map"] / other["map"])
        assert "share_of_ceiling" not in other
    status, out, _ = training("evaluate", "--model", run_folder, *words, "--rerank")
    assert status == 0
    assert out.splitlines()[0].endswith("of ceiling %")
    assert [row.split()[-1] for row in out.splitlines()[2:]] == ["100.0"] * 4


def test_data_that_cannot_be_measured_is_told_once(
    training: CommandLine, run_folder: Path, ceiling: Path, drawn: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(drawn, tmp_path / "broken")
    victim = min((broken / "query").iterdir())
    victim.write_bytes(b"no picture")
    words = ("--model", run_folder, "--data", drawn, "--data", broken, "--ceiling", ceiling)
    status, out, err = training("evaluate", *words)
    assert status == 2
    assert out.count("100.0") >= 2
    assert err.count(victim.name) == 1


def test_only_a_run_with_true_identities_is_a_ceiling(
    training: CommandLine, run_folder: Path, exported: Path, drawn: Path
) -> None:
    for model in (run_folder, exported):
        words = ("--model", run_folder, "--data", drawn, "--ceiling", model)
        status, out, err = training("evaluate", *words)
        assert (status, out) == (2, "")
        assert "identity labels of this model: none" in err


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_the_table_states_its_form_of_map(
    training: CommandLine, exported: Path, drawn: Path, form: str
) -> None:
    status, out, _ = training("evaluate", "--model", exported, "--data", drawn, "--format", form)
    assert status == 0
    assert "mAP % (finite sum)" in out
    assert out.count("people") == 2


def test_two_data_sets_give_two_blocks(
    training: CommandLine, exported: Path, drawn: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(drawn, tmp_path / "others")
    lines = results(training, "--model", exported, "--data", drawn, "--data", other)
    assert [line["data"] for line in lines] == ["people", "people", "others", "others"]


def test_pictures_are_written_only_on_request(
    training: CommandLine, exported: Path, drawn: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "lists"
    status, _, err = training(
        "evaluate", "--model", exported, "--data", drawn, "--pictures", pictures
    )
    assert status == 0
    sheet = pictures / "people" / CONTACT_SHEET
    assert sheet.stat().st_size > 0
    assert str(sheet) in err


def test_crops_are_decoded_as_the_service_decodes_them(exported: Path, drawn: Path) -> None:
    manifest = read_manifest(exported)
    dataset = read_held_out([drawn])[0]
    crops = load_held_out(dataset, open_embedder(exported, torch.device("cpu")))
    for image, sample in zip(crops.gallery.pixels, dataset.gallery, strict=True):
        expected = decode(
            sample.path.read_bytes(),
            manifest.input_height,
            manifest.input_width,
            resize=manifest.resize,
        )
        np.testing.assert_array_equal(image, expected)


def test_unreadable_crops_are_an_error_or_are_left_out(
    training: CommandLine, exported: Path, drawn: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(drawn, tmp_path / "broken")
    victim = min((broken / "bounding_box_test").iterdir())
    victim.write_bytes(b"no picture")
    status, out, err = training("evaluate", "--model", exported, "--data", broken)
    assert (status, out) == (2, "")
    assert victim.name in err
    lines = results(training, "--model", exported, "--data", broken, "--skip-bad")
    whole = results(training, "--model", exported, "--data", drawn)
    assert lines[0]["gallery"] == whole[0]["gallery"] - 1
    _, _, err = training("evaluate", "--model", exported, "--data", broken, "--skip-bad")
    assert f"skipped: {victim}: " in err
    assert "skipped in total: 1" in err


def test_user_errors_are_one_line_with_status_2(
    training: CommandLine, exported: Path, drawn: Path, tmp_path: Path
) -> None:
    twin = shutil.copytree(drawn, tmp_path / "people")
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    with (damaged / "model.onnx").open("ab") as file:
        file.write(b"more")
    for words, rule in [
        (("--model", tmp_path / "none", "--data", drawn), "not a readable checkpoint"),
        (("--model", exported), "give --data"),
        (("--model", exported, "--data", tmp_path / "none"), "none"),
        (("--model", exported, "--data", drawn, "--data", twin), "named people"),
        (("--model", exported, "--data", drawn, "--weights", "x"), "needs --before-training"),
        (("--model", damaged, "--data", drawn), "sha256"),
    ]:
        status, out, err = training("evaluate", *words)
        assert (status, out) == (2, ""), words
        assert err.startswith("error: ")
        assert rule in err
        assert err.count("\n") == 1


def test_export_prints_its_result(training: CommandLine, run_folder: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("## Limits\n\nNone known.\n")
    output = tmp_path / "models" / "unmeasured"
    status, out, err = training(
        "export", "--run", run_folder, "--output", output, "--notes", notes, "--name", "other"
    )
    assert status == 0, err
    assert "drawn people" in out
    assert out.splitlines()[-1] == f"exported: {output}"
    manifest = read_manifest(output)
    assert (manifest.name, manifest.accuracy, manifest.calibration) == ("other", (), None)
    assert "None known." in (output / "CARD.md").read_text()


def test_export_rejects_a_folder_in_use(
    training: CommandLine, run_folder: Path, exported: Path
) -> None:
    status, out, err = training("export", "--run", run_folder, "--output", exported)
    assert (status, out) == (2, "")
    assert "--overwrite" in err


def test_synthesize_follows_its_options(training: CommandLine, tmp_path: Path) -> None:
    words = ("synthesize", tmp_path / "drawn", "--identities", 4, "--cameras", 2, "--crops", 2)
    status, out, _ = training(*words, "--train-share", 0.25, "--height", 64, "--width", 32)
    assert status == 0
    assert "train 4 crops of 1 people, query 6 and gallery 6 of 3" in out
    status, _, err = training(*words)
    assert status == 2
    assert "--overwrite" in err
    assert training(*words, "--overwrite")[0] == 0
