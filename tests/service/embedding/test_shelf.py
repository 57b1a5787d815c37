"""A service with several models searches each gallery with the gallery's own model."""

from __future__ import annotations

import json
import shutil

import pytest

from service.errors import NotFound
from service.model.manifest import read_manifest
from service.testing import solid


@pytest.fixture
def models(tmp_path, build_model):
    """A folder with one model and one file that is not a model."""
    folder = tmp_path / "models"
    shutil.copytree(build_model(), folder / "tiny")
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    return folder


def test_a_gallery_is_filled_and_searched_with_its_own_model(start, models):
    manifest = read_manifest(models / "tiny")
    crop = solid((200, 20, 20))
    with start(models=models) as service:
        service.parts.store.create("other", manifest.sha256, manifest.dimension)
        assert service.put("other", "red", crop).status_code == 201
        answer = service.search(("a", crop), gallery="other").json()
        assert answer["model"] == {"name": "tiny", "sha256": manifest.sha256}
        assert answer["min_score"] == manifest.calibration.threshold
        assert answer["results"][0]["matches"][0]["score"] == pytest.approx(1.0)
        assert service.search(("a", crop)).json()["model"]["name"] == "fake"


def test_a_model_that_arrives_later_is_found_without_a_restart(start, models, tmp_path):
    manifest = read_manifest(models / "tiny")
    empty = tmp_path / "later"
    with start(models=empty) as service:
        service.parts.store.create("other", manifest.sha256, manifest.dimension)
        crop = solid((200, 20, 20))
        answer = service.put("other", "red", crop)
        assert (answer.status_code, answer.json()["code"]) == (409, "model_mismatch")
        shutil.copytree(models / "tiny", empty / "tiny")
        assert service.put("other", "red", crop).status_code == 201


def test_models_are_listed_and_named(start, models):
    with start(models=models) as service:
        shelf = service.parts.shelf
        assert [manifest.name for manifest in shelf.manifests()] == ["fake", "tiny"]
        assert shelf.named("tiny").manifest.name == "tiny"
        assert [model.manifest.name for model in shelf.opened()] == ["fake", "tiny"]
        with pytest.raises(NotFound, match="known models: fake, tiny"):
            shelf.named("nothing")


def test_what_cannot_be_run_is_named_with_its_reason(start, models):
    (models / "empty").mkdir()
    (models / "loose.onnx").write_bytes(b"x")
    (models / ".unfinished").mkdir()
    (models / "notes.txt").write_text("not a model")
    shutil.copytree(models / "tiny", models / "damaged")
    with (models / "damaged" / "model.onnx").open("ab") as file:
        file.write(b"more")
    with start(models=models) as service:
        answer = service.http.get("/models").json()
        assert [model["name"] for model in answer["models"]] == ["fake", "tiny"]
        reasons = {one["name"]: one["reason"] for one in answer["unusable"]}
        assert list(reasons) == ["broken", "damaged", "empty", "loose.onnx"]
        assert "manifest.json: document: Invalid JSON" in reasons["broken"]
        assert reasons["damaged"].startswith("model.onnx: sha256 is ")
        assert "no manifest.json" in reasons["empty"]
        assert "training wrap" in reasons["loose.onnx"]
        assert not any(str(models) in reason for reason in reasons.values())
        with pytest.raises(NotFound, match=r"'empty' cannot be used: empty has no manifest\.json"):
            service.parts.shelf.named("empty")
        shutil.copyfile(models / "tiny" / "manifest.json", models / "empty" / "manifest.json")
        shutil.copyfile(models / "tiny" / "model.onnx", models / "empty" / "model.onnx")
        left = service.http.get("/models").json()["unusable"]
        assert "empty" not in {one["name"] for one in left}


def test_terms_and_labels_of_every_model_are_told(start, models):
    file = models / "tiny" / "manifest.json"
    manifest = json.loads(file.read_text())
    changes = {"licence": "research only", "identity_labels": "of real people"}
    file.write_text(json.dumps(manifest | changes))
    with start(models=models) as service:
        listed = service.http.get("/models").json()["models"]
        told = {one["name"]: (one["licence"], one["identity_labels"]) for one in listed}
        assert told["tiny"] == ("research only", "of real people")
        assert told["fake"][1] == "none"
        assert service.http.get("/info").json()["model"]["identity_labels"] == "none"


def test_without_a_folder_of_models_nothing_is_unusable(start):
    with start() as service:
        assert service.http.get("/models").json()["unusable"] == []
