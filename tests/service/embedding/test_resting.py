"""A model of the folder leaves memory while nobody uses it, and comes back for the next image."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from waiting import wait_until

from service.embedding.onnx_embedder import OnnxEmbedder
from service.embedding.resting_embedder import RestingEmbedder
from service.errors import Unavailable
from service.model.manifest import read_manifest
from service.testing import solid

CROP = solid((200, 20, 20))


@pytest.fixture
def models(tmp_path, build_model):
    folder = tmp_path / "models"
    shutil.copytree(build_model(), folder / "tiny")
    return folder


@pytest.fixture
def other(start, models):
    """A service with the gallery ``other`` of the model in its folder."""
    manifest = read_manifest(models / "tiny")
    with start(models=models) as service:
        service.parts.store.create("other", manifest.sha256, manifest.dimension)
        assert service.put("other", "red", CROP).status_code == 201
        yield service


def network_of(service) -> RestingEmbedder:
    [_, tiny] = service.parts.shelf.opened()
    return tiny.resting


def search(service):
    return service.search(("a", CROP), gallery="other")


def test_an_idle_network_leaves_memory_and_the_next_image_loads_it(other):
    before = search(other).json()["results"]
    other.parts.shelf.rest(3600)
    assert network_of(other).in_memory
    other.parts.shelf.rest(0)
    assert not network_of(other).in_memory
    assert other.parts.shelf.running.resting is None
    assert search(other).json()["results"] == before
    assert network_of(other).in_memory


def test_what_needs_no_network_does_not_load_it(other):
    other.parts.shelf.rest(0)
    assert {one["name"] for one in other.http.get("/models").json()["models"]} == {"fake", "tiny"}
    assert other.http.get("/galleries/other/crops").status_code == 200
    assert other.http.get("/readyz").status_code == 200
    assert not network_of(other).in_memory


def test_its_folder_may_be_renamed_meanwhile(other, models):
    other.parts.shelf.rest(0)
    (models / "tiny").rename(models / "renamed")
    assert search(other).status_code == 200


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_model_that_is_gone_is_an_error_until_it_is_back(other, models, build_model, change):
    other.parts.shelf.rest(0)
    (models / "tiny").rename(models.parent / "aside")
    if change == "replaced":
        shutil.copytree(build_model(ending="long"), models / "tiny")
    answer = search(other)
    assert answer.status_code == 503
    assert "model tiny is no longer in the service's folder of models" in answer.text
    assert str(models) not in answer.text
    shutil.rmtree(models / "tiny", ignore_errors=True)
    (models.parent / "aside").rename(models / "tiny")
    assert search(other).status_code == 200


def test_the_setting_says_how_long_it_waits(start, models):
    manifest = read_manifest(models / "tiny")
    with start(models=models, model_idle_seconds=0.05) as service:
        service.parts.store.create("other", manifest.sha256, manifest.dimension)
        assert service.put("other", "red", CROP).status_code == 201
        wait_until(lambda: not network_of(service).in_memory)
        assert search(service).status_code == 200


class Slow:
    """An embedder that waits for a signal in the middle of a batch."""

    def __init__(self, network: OnnxEmbedder) -> None:
        self.manifest, self.provider = network.manifest, network.provider
        self.begun, self.signal = threading.Event(), threading.Event()

    def embed(self, images):
        self.begun.set()
        assert self.signal.wait(60)
        return np.zeros((len(images), self.manifest.dimension), np.float32)


def test_a_network_that_embeds_stays_and_its_time_begins_at_the_end(build_model):
    slow, now = Slow(OnnxEmbedder(build_model(), device="cpu")), [0.0]
    resting = RestingEmbedder(slow, lambda: pytest.fail("it was in memory"), lambda: now[0])
    images = np.zeros((1, slow.manifest.input_height, slow.manifest.input_width, 3), np.uint8)
    run = threading.Thread(target=resting.embed, args=(images,))
    run.start()
    slow.begun.wait(60)
    now[0] = 100.0
    resting.rest(10)
    assert resting.in_memory
    slow.signal.set()
    run.join()
    resting.rest(10)
    assert resting.in_memory
    now[0] = 110.0
    resting.rest(10)
    assert not resting.in_memory


def test_an_error_of_loading_is_no_error_for_ever(build_model):
    network, answers = OnnxEmbedder(build_model(), device="cpu"), ["no", "yes"]

    def load():
        if answers.pop(0) == "no":
            raise Unavailable("not now")
        return network

    resting = RestingEmbedder(network, load)
    resting.rest(0)
    images = np.zeros((1, network.manifest.input_height, network.manifest.input_width, 3), np.uint8)
    with pytest.raises(Unavailable, match="not now"):
        resting.embed(images)
    assert resting.embed(images).shape == (1, network.manifest.dimension)
