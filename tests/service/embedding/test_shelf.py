"""A service with several models searches each gallery with the gallery's own model."""

from __future__ import annotations

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
