"""Every broken rule for networks that find persons is found and named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.errors import ArtifactError, Unavailable
from service.model.contract import check_model, load_detector, load_model
from service.model.detector_manifest import DetectorManifest, read_detector_manifest
from service.model.detector_rules import Candidates, detector_behaviour_findings
from service.model.manifest import MANIFEST_NAME, kind_of, read_manifest

NANODET = Path(__file__).parents[3] / "models" / "nanodet-person"


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """A copy of the shipped detector that a test may break."""
    return shutil.copytree(NANODET, tmp_path / "detector")


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename(folder: Path, old: str, new: str) -> Path:
    """The network with another name for an input or output, as a bare file."""
    onnx = pytest.importorskip("onnx", reason="onnx, which renames the test's network, is missing")
    model = onnx.load(folder / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    file = folder / "renamed.onnx"
    onnx.save(model, file)
    return file


def only(path: Path) -> str:
    (finding,) = check_model(path)
    return str(finding)


def test_the_shipped_detector_and_its_bare_file_pass(detector):
    assert check_model(detector) == []
    assert check_model(detector / "model.onnx") == []


def test_the_kind_of_a_folder(detector, tiny_model, tmp_path):
    assert kind_of(detector) == "person-detector"
    assert kind_of(tiny_model) == "embedding"
    assert kind_of(tmp_path / "absent") == "embedding"
    (detector / MANIFEST_NAME).write_text("[" * 100_000)
    assert kind_of(detector) == "embedding"


def test_manifests_of_embedding_models_name_no_kind(tiny_model):
    assert "kind" not in read_manifest(tiny_model).model_dump()


def test_a_model_of_the_other_kind_is_named(detector, tiny_model):
    with pytest.raises(ArtifactError, match=r"finds persons on frames \(REID_DETECTOR\), not"):
        load_model(detector)
    with pytest.raises(ArtifactError, match=r"embeds crops \(REID_MODEL\), not a model that finds"):
        load_detector(tiny_model)


def test_a_bare_file_takes_the_usual_thresholds(detector):
    manifest, file = load_detector(detector / "model.onnx")
    assert (manifest.score, manifest.iou) == (0.4, 0.5)
    assert (manifest.input_height, manifest.input_width) == (416, 416)
    assert file == detector / "model.onnx"


def test_a_bare_file_of_the_other_kind_is_no_detector(tiny_model):
    with pytest.raises(ArtifactError, match="the input is named `images`"):
        load_detector(tiny_model / "model.onnx")


def test_a_missing_path(tmp_path):
    with pytest.raises(ArtifactError, match="nothing does not exist"):
        load_detector(tmp_path / "nothing")


@pytest.mark.parametrize(("old", "new"), [("image", "images"), ("boxes", "corners")])
def test_a_detector_with_another_name(detector, old, new):
    shutil.copy(rename(detector, old, new), detector / "model.onnx")
    findings = [str(finding) for finding in check_model(detector)]
    assert "sha256" in findings[0]
    assert f"`{new}`" in findings[1]
    assert f"is named `{old}`" in findings[1]


def test_sizes_and_hash_are_compared_with_the_manifest(detector):
    edit_manifest(detector, input_width=320, sha256="0" * 64)
    findings = " ".join(str(finding) for finding in check_model(detector))
    assert "input_width is 320 in the manifest and 416 in the graph" in findings
    assert "the manifest's sha256" in findings
    with pytest.raises(ArtifactError, match="the manifest says 000"):
        read_detector_manifest(detector)


@pytest.mark.parametrize(
    ("field", "value"),
    [("score", 1.0), ("score", 0.01), ("iou", 0.0), ("input_height", 4), ("colour", "red")],
)
def test_a_field_that_breaks_its_rule_is_named(detector, field, value):
    edit_manifest(detector, **{field: value})
    assert f"{MANIFEST_NAME}: {field} is" in only(detector)


def test_an_unknown_kind_is_named(detector):
    edit_manifest(detector, kind="car-detector")
    findings = [str(finding) for finding in check_model(detector)]
    assert any("kind is 'car-detector'" in finding for finding in findings)


HEIGHT, WIDTH = 16, 8


def sound(images: np.ndarray) -> Candidates:
    """Two candidates whose boxes and scores follow the mean of an image."""
    mean = images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32) / 255
    scores = np.hstack([mean, 1 - mean])
    return Candidates(scores[..., None] * np.float32([0, 0, 4, 8]), scores)


def test_sound_candidates_break_no_rule():
    assert detector_behaviour_findings(sound, HEIGHT, WIDTH) == []


def fails(_images: np.ndarray) -> Candidates:
    raise Unavailable("the network failed: no memory")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c._replace(scores=c.scores * 9), "scores reach from"),
        (lambda c: c._replace(boxes=c.boxes[..., ::-1]), "end before they begin"),
        (lambda c: c._replace(boxes=c.boxes[..., :3]), "gave boxes of shape (4, 2, 3)"),
        (lambda c: c._replace(scores=c.scores[:, :1]), "scores of shape (4, 1)"),
        (lambda c: c._replace(boxes=c.boxes * np.float32(np.nan)), "NaN or infinity"),
        (lambda c: c._replace(scores=c.scores * 0 + np.float32(0.5)), "the same scores"),
        (lambda c: c._replace(boxes=c.boxes + len(c.boxes)), "alone and in a batch of 4 has boxes"),
    ],
)
def test_candidates_that_break_one_rule(change, said):
    (finding,) = detector_behaviour_findings(lambda i: change(sound(i)), HEIGHT, WIDTH)
    assert said in str(finding)


def test_a_run_that_fails_ends_the_checks():
    (finding,) = detector_behaviour_findings(fails, HEIGHT, WIDTH)
    assert "no memory" in str(finding)


def test_the_record_is_frozen_and_names_its_kind():
    manifest = DetectorManifest(name="a", sha256="0" * 64, input_height=8, input_width=8)
    assert manifest.model_dump()["kind"] == "person-detector"
