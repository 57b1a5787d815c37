"""Every broken rule of the contract is found and named; a valid model passes."""

from __future__ import annotations

import json
import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from service.errors import ArtifactError, Unavailable
from service.model.contract import check_model, load_model
from service.model.manifest import MANIFEST_NAME, read_manifest, sha256_of
from service.model.rules import Sizes, behaviour_findings

THIRD_PARTY = Path(__file__).parents[3].parent / "shared" / "thirdparty"


@pytest.fixture
def model(tiny_model, tmp_path) -> Path:
    """A copy of the valid model that a test may break."""
    return shutil.copytree(tiny_model, tmp_path / "tiny")


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def texts(path: Path) -> list[str]:
    return [str(finding) for finding in check_model(path)]


def only(path: Path) -> str:
    (text,) = texts(path)
    return text


def test_a_sound_folder_and_a_sound_bare_file_pass(tiny_model):
    assert check_model(tiny_model) == []
    assert check_model(tiny_model / "model.onnx") == []


@pytest.mark.parametrize(
    ("changes", "found", "mend"),
    [
        ({"input_name": "data"}, "the input is named `data`", "Rename"),
        ({"input_type": "float32"}, "the input is float32", "Cast and the normalisation"),
        ({"input_shape": ("N", 3, 64, 32)}, "(N, 3, 64, 32): NCHW", "Transpose"),
        ({"input_shape": ("N", "H", "W", 3)}, "H or W is not a number", "the size of the crops"),
        ({"second_input": True}, "2 inputs: `images`, `mask`", "constants"),
        ({"output_name": "reid"}, "the output is named `reid`", "Rename"),
        ({"ending": "half"}, "the output is float16", "Cast to float32"),
        ({"ending": "long"}, "embeddings have lengths", "L2 normalisation"),
        ({"ending": "constant"}, "different images get the same embedding", "weights"),
        ({"ending": "nan"}, "NaN or infinity", "division by zero"),
        (
            {"ending": "batch"},
            "alone and in a batch of 4 has different embeddings: cosine 0.",
            "evaluation mode",
        ),
        ({"ending": "first"}, "the output's batch is fixed at 1", "dynamic first axis"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_network_that_breaks_one_rule(build_model, changes, found, mend):
    text = only(build_model(**changes))
    assert found in text
    assert mend in text
    assert "The contract: " in text


def test_a_fixed_batch_is_named_for_input_and_output(build_model):
    found = texts(build_model(input_shape=(1, 64, 32, 3), output_shape=(1, 48)))
    assert [text.split(".")[0] for text in found] == [
        "the input's batch is fixed at 1",
        "the output's batch is fixed at 1",
    ]


@pytest.mark.parametrize(
    ("field", "value"), [("input_height", 128), ("input_width", 64), ("dimension", 47)]
)
def test_manifest_and_graph_that_disagree(model, field, value):
    edit_manifest(model, **{field: value})
    assert f"{field} is {value} in the manifest and" in only(model)


def test_a_wrong_hash(model):
    edit_manifest(model, sha256="0" * 64)
    assert sha256_of(model / "model.onnx") in only(model)


def test_a_manifest_with_several_wrong_fields_names_each_and_the_network_is_still_checked(
    build_model, tmp_path
):
    folder = shutil.copytree(build_model(ending="long"), tmp_path / "broken")
    edit_manifest(folder, input_height="tall", dimension=0, colour="red")
    found = texts(folder)
    assert len(found) == 4
    for part in ["input_height is 'tall'", "dimension is '0'", "colour is 'red'", "have lengths"]:
        assert any(part in text for text in found), part


def test_a_manifest_that_is_not_json(model):
    (model / MANIFEST_NAME).write_text("{")
    assert "manifest.json: document" in only(model)


def test_a_folder_without_a_manifest(model):
    (model / MANIFEST_NAME).unlink()
    assert "No such file or directory" in only(model)


def test_a_folder_without_a_network(model):
    (model / "model.onnx").unlink()
    assert "model.onnx does not exist" in only(model)


def test_an_empty_folder_and_a_missing_path(tmp_path):
    assert len(texts(tmp_path)) == 2
    assert "nothing does not exist" in only(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x00" * 1000])
def test_a_file_that_is_not_onnx(tmp_path, content):
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    assert "one ONNX file that ONNX Runtime can open" in only(file)


def test_a_truncated_network(model):
    file = model / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])
    found = texts(model)
    assert "sha256" in found[0]
    assert "ONNX Runtime can open" in found[1]


def test_a_foreign_network_gets_all_findings_at_once():
    files = sorted(THIRD_PARTY.glob("*.onnx"))
    if not files:
        pytest.skip("../shared: thirdparty with a network that is not ours is absent")
    text = " ".join(texts(files[0]))
    for part in ["float32", "(1, 3, 256, 128): NCHW", "batch is fixed at 1", "named `data`"]:
        assert part in text
    with pytest.raises(ArtifactError, match="the input is float32"):
        load_model(files[0])


SIZES = Sizes(16, 8, 2)


def unit(images: np.ndarray) -> np.ndarray:
    means = images.reshape(len(images), -1).mean(axis=1)
    return np.stack([np.cos(means), np.sin(means)], axis=1).astype(np.float32)


def test_behaviour_of_a_valid_network():
    assert behaviour_findings(unit, SIZES) == []


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (lambda images: unit(images)[:1], "4 images gave embeddings of shape (1, 2)"),
        (lambda images: np.repeat(unit(images), 2, axis=1), "shape (4, 4)"),
        (lambda images: unit(images) * 1.01, "lengths 1.01 to 1.01"),
        (lambda images: unit(images) * np.inf, "NaN or infinity"),
        (lambda images: unit(np.zeros_like(images)), "the same embedding"),
        (lambda images: unit(images)[::-1], "an image alone and in a batch"),
        (lambda images: unit(images) + (len(images) == 1) * np.nan, "NaN or infinity"),
    ],
)
def test_behaviour_that_breaks_a_rule(network, found):
    (finding,) = behaviour_findings(network, SIZES)
    assert found in finding.found


@pytest.mark.parametrize(("angle", "tolerated"), [(0.012, True), (0.016, False)])
def test_batching_may_change_the_cosine_by_1e_4(angle, tolerated):
    cosine, sine = np.cos(angle), np.sin(angle)  # 1 - cosine is 7e-5 or 1.3e-4
    rotation = np.array([[cosine, -sine], [sine, cosine]])

    def turned_when_alone(images):
        return unit(images) @ rotation if len(images) == 1 else unit(images)

    assert (behaviour_findings(turned_when_alone, SIZES) == []) is tolerated


def test_a_run_that_fails_is_a_finding():
    def fails(images):
        if len(images) > 1:
            raise Unavailable("the network failed: no memory")
        return unit(images)

    (finding,) = behaviour_findings(fails, SIZES)
    assert finding.found == "the network failed: no memory"
    assert all(astuple(finding))


def test_load_a_folder(tiny_model):
    manifest, file = load_model(tiny_model)
    assert manifest == read_manifest(tiny_model)
    assert file == tiny_model / "model.onnx"


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("tiny.onnx", "tiny"),
        ("My Model (v2).onnx", "my-model-v2"),
        ("ResNet_50.v1.onnx", "resnet_50.v1"),
        ("人.onnx", "model"),
    ],
)
def test_load_a_bare_file(tiny_model, tmp_path, file_name, name):
    file = tmp_path / file_name
    shutil.copy(tiny_model / "model.onnx", file)
    manifest, found = load_model(file)
    assert found == file
    assert manifest.name == name
    assert manifest.sha256 == sha256_of(file)
    assert (manifest.input_height, manifest.input_width, manifest.dimension) == (64, 32, 48)
    assert manifest.calibration is None
    assert manifest.identity_labels == "not known"


def test_loading_a_missing_model_fails(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        load_model(tmp_path / "nothing.onnx")
