"""The manifest is written and read back; errors name the field and the rule."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import ArtifactError
from service.model.manifest import (
    MANIFEST_NAME,
    Calibration,
    read_manifest,
    sha256_of,
    write_manifest,
)
from service.testing import TINY_CALIBRATION, TINY_MANIFEST


@pytest.fixture
def model(tmp_path) -> Path:
    """A folder with any file as its network, which the manifest does not read."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    write_manifest(tmp_path, TINY_MANIFEST.model_copy(update={"sha256": sha256_of(file)}))
    return tmp_path


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_read(model):
    manifest = read_manifest(model)
    assert manifest == TINY_MANIFEST.model_copy(update={"sha256": manifest.sha256})
    write_manifest(model, manifest)
    assert read_manifest(model) == manifest


def test_the_file_is_stable_and_readable(model):
    text = (model / MANIFEST_NAME).read_text(encoding="utf-8")
    write_manifest(model, read_manifest(model))
    assert (model / MANIFEST_NAME).read_text(encoding="utf-8") == text
    assert text.startswith('{\n  "schema_version": 1,\n  "name": "fake"')
    assert text.endswith("}\n")


def test_names_outside_ascii_stay_readable(model):
    manifest = read_manifest(model).model_copy(update={"licence": "Überlassung frei"})
    write_manifest(model, manifest)
    assert "Überlassung" in (model / MANIFEST_NAME).read_text(encoding="utf-8")
    assert read_manifest(model) == manifest


def test_the_hash_is_that_of_the_bytes(model):
    assert sha256_of(model / "model.onnx") == hashlib.sha256(b"weights").hexdigest()


def test_the_hash_of_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match="nothing: No such file"):
        sha256_of(tmp_path / "nothing")


def test_a_changed_network_is_refused(model):
    (model / "model.onnx").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match=r"sha256 is .* the manifest says"):
        read_manifest(model)


def test_a_missing_network_is_refused(model):
    (model / "model.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx: No such file"):
        read_manifest(model)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"manifest\.json: No such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_manifest_that_is_not_a_json_object_is_rejected(model, content):
    (model / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json: document"):
        read_manifest(model)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("name", "Has Spaces"),
        ("name", "../escape"),
        ("file", "../model.onnx"),
        ("file", "folder/model.onnx"),
        ("sha256", "abc"),
        ("input_height", 7),
        ("input_width", 5000),
        ("resize", "nearest"),
        ("dimension", 0),
        ("metric", "euclidean"),
        ("colour", "red"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(model, field, value):
    edit(model, **{field: value})
    with pytest.raises(ArtifactError, match=rf"manifest\.json: {field}: "):
        read_manifest(model)


def test_every_wrong_field_is_named_at_once(model):
    edit(model, dimension=0, resize="nearest")
    with pytest.raises(ArtifactError, match=r"resize: .*; dimension: "):
        read_manifest(model)


def test_a_real_model_folder_is_read(tiny_model):
    manifest = read_manifest(tiny_model)
    assert (manifest.name, manifest.opset) == ("tiny", 17)


def test_a_folder_can_be_moved(tiny_model, tmp_path):
    moved = shutil.copytree(tiny_model, tmp_path / "elsewhere")
    assert read_manifest(moved) == read_manifest(tiny_model)


def test_probability_is_the_logistic_of_the_cosine():
    assert TINY_CALIBRATION.probability(0.5) == pytest.approx(0.5)
    assert TINY_CALIBRATION.probability(0.75) == pytest.approx(1 / (1 + math.exp(-3)))
    scores = [TINY_CALIBRATION.probability(step / 10) for step in range(-10, 11)]
    assert scores == sorted(scores)
    assert all(0 < score < 1 for score in scores)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slope", 0.0),
        ("slope", math.inf),
        ("intercept", math.nan),
        ("threshold", 1.5),
        ("false_match_rate", -0.1),
        ("true_match_rate", 1.1),
        ("genuine_pairs", 0),
    ],
)
def test_an_impossible_calibration(field, value):
    with pytest.raises(ValidationError, match=field):
        Calibration.model_validate(TINY_CALIBRATION.model_dump() | {field: value})
