"""A gallery moves to another model and back while it is searched, and loses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from service.gallery.base import Crop, Filter
from service.gallery.disk.store import DiskGalleryStore
from service.model.manifest import read_manifest
from service.model_change.comparison import compare
from service.model_change.differences import differences
from service.testing import solid

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


@pytest.fixture
def change(start, models):
    """A running service with the gallery `station`, embedded with model `old`."""
    with start(models=models) as service:
        body = {"name": "station", "store_crops": True, "model": "old"}
        assert service.http.post("/galleries", json=body).status_code == 201
        for identity, colour in COLOURS.items():
            for step, camera in enumerate(("c1", "c2")):
                put(service, f"{identity}-{camera}", colour, step, identity, camera)
        yield service


def put(service, crop_id, colour, step, identity=None, camera=None):
    picture = solid(tuple(min(value + 5 * step, 255) for value in colour))
    fields = {"identity": identity, "camera": camera}
    answer = service.put("station", crop_id, picture, **{k: v for k, v in fields.items() if v})
    assert answer.status_code in {200, 201}, answer.text
    return picture


def begin(service, model):
    return service.ended(service.http.post("/galleries/station/model", json={"model": model}))


def switch(service, model, **body):
    return service.http.post("/galleries/station/model/switch", json={"model": model, **body})


def searched_by(service):
    crop = ("a.jpg", solid(COLOURS["red"]))
    answer = service.search(crop, gallery="station", min_score=-1, top_k=100).json()
    matches = answer["results"][0]["matches"]
    assert matches[0]["identity"] == "red"
    return answer["model"]["name"], {match["crop_id"] for match in matches}


def test_embed_compare_switch_and_switch_back(change):
    everything = set(change.crop_ids("station"))
    job = begin(change, "new")
    assert (job["state"], job["done"], job["counts"]) == ("done", 6, {"embedded": 6})
    assert job["result"]["behind"] == 0
    comparison = job["result"]["comparison"]
    assert (comparison["queries"], comparison["labelled"]) == (6, 6)
    assert comparison["candidate"]["rank1"] == comparison["served"]["rank1"] == 1.0
    assert searched_by(change) == ("old", everything)

    versions = switch(change, "new").json()["versions"]
    assert [(one["name"], one["served"], one["crops"]) for one in versions] == [
        ("new", True, 6),
        ("old", False, 6),
    ]
    assert searched_by(change) == ("new", everything)
    assert switch(change, "old").status_code == 200
    assert searched_by(change) == ("old", everything)


def test_changes_made_meanwhile_are_copied_in_both_directions(change):
    begin(change, "new")
    put(change, "late", (90, 90, 90), 0, camera="c1")
    put(change, "red-c1", (200, 60, 20), 0, "red", "c1")  # another picture
    change.http.delete("/galleries/station/crops/blue-c2")
    change.http.post(
        "/galleries/station/identities/label", json={"crop_ids": ["late"], "identity": "grey"}
    )
    assert switch(change, "new").status_code == 200
    name, found = searched_by(change)
    assert name == "new"
    assert found == set(change.crop_ids("station")) >= {"late", "red-c1"}
    assert "blue-c2" not in found
    late = change.http.get("/galleries/station/crops/late").json()
    assert (late["identity"], late["origin"]) == ("grey", "hand")
    change.http.delete("/galleries/station/crops/late")
    put(change, "later", (90, 90, 90), 1)
    assert switch(change, "old").status_code == 200
    name, found = searched_by(change)
    assert name == "old"
    assert "later" in found
    assert "late" not in found


def test_a_restart_serves_the_version_switched_to(start, models):
    with start(models=models) as service:
        body = {"name": "station", "store_crops": True, "model": "old"}
        assert service.http.post("/galleries", json=body).status_code == 201
        put(service, "red-c1", COLOURS["red"], 0, "red", "c1")
        begin(service, "new")
        assert switch(service, "new").status_code == 200
    with start(models=models) as service:
        assert searched_by(service) == ("new", {"red-c1"})
        assert switch(service, "old").status_code == 200


def test_the_age_of_crops_survives_the_switch(change):
    before = change.http.get("/galleries/station/crops/red-c1").json()["added"]
    begin(change, "new")
    switch(change, "new")
    assert change.http.get("/galleries/station/crops/red-c1").json()["added"] == before


def test_crops_without_a_picture_are_left_out_only_on_request(start, models):
    with start(models=models) as service:
        service.http.post("/galleries", json={"name": "station", "model": "old"})
        put(service, "bare", (90, 90, 90), 0)
        service.http.patch("/galleries/station", json={"store_crops": True})
        put(service, "red-c1", COLOURS["red"], 0, "red", "c1")
        job = begin(service, "new")
        assert (job["counts"], job["result"]["behind"]) == ({"embedded": 1, "failed": 1}, 1)
        answer = switch(service, "new")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "'bare'" in answer.json()["detail"]
        assert searched_by(service)[0] == "old"
        assert switch(service, "new", allow_missing=True).status_code == 200
        assert service.crop_ids("station") == ["red-c1"]


def test_an_erased_crop_is_gone_from_every_version(change):
    begin(change, "new")
    change.http.delete("/galleries/station/crops/red-c1")
    assert switch(change, "new").status_code == 200
    assert "red-c1" not in change.crop_ids("station")


def test_a_version_can_be_dropped_unless_it_is_served(change, models):
    begin(change, "new")
    new, old = (read_manifest(models / name).sha256 for name in ("new", "old"))
    served = change.http.delete(f"/galleries/station/model/{old}")
    assert (served.status_code, served.json()["code"]) == (409, "conflict")
    left = change.http.delete(f"/galleries/station/model/{new}").json()["versions"]
    assert [one["name"] for one in left] == ["old"]
    assert switch(change, "new").status_code == 404
    assert change.http.delete(f"/galleries/station/model/{new}").status_code == 404


def test_an_impossible_change_is_refused_at_once(change):
    def ask(gallery, model):
        answer = change.http.post(f"/galleries/{gallery}/model", json={"model": model})
        return answer.status_code, answer.json()["detail"]

    assert ask("station", "nothing")[0] == 404
    assert "known models: fake, new, old" in ask("station", "nothing")[1]
    assert ask("nowhere", "new")[0] == 404
    assert ask("station", "old")[0] == 409
    change.put("default", "a", solid((1, 2, 3)))
    status, detail = ask("default", "new")
    assert status == 409
    assert "stores no pictures" in detail
    assert switch(change, "old").status_code == 409


def test_models_are_listed(change):
    models = change.http.get("/models").json()["models"]
    assert [(model["name"], model["running"]) for model in models] == [
        ("fake", True),
        ("new", False),
        ("old", False),
    ]


@pytest.fixture
def two(tmp_path):
    store = DiskGalleryStore(tmp_path, device="cpu")
    yield store.create("a", "a" * 64, 4), store.create("b", "b" * 64, 4)
    store.close()


def rows(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_differences_list_every_kind_once(two):
    served, copy = two
    served.upsert([Crop(name, digest=name, added=1.0) for name in "acdefg"], rows(6))
    copy.upsert(
        [
            Crop("b", digest="b", added=1.0),
            Crop("c", digest="another", added=1.0),
            Crop("d", identity="x", digest="d", added=1.0),
            Crop("e", digest="e", added=1.0),
            Crop("f", digest="f", added=2.0),
            Crop("h", digest="h", added=1.0),
            Crop("i", digest="i", added=1.0),
        ],
        rows(7),
    )
    found = differences(served, copy)
    assert [crop.crop_id for crop in found.to_embed] == ["a", "c", "g"]
    assert [crop.crop_id for crop in found.to_describe] == ["d", "f"]
    assert found.to_delete == ["b", "h", "i"]
    assert len(differences(served, served)) == 0


def test_a_comparison_shows_the_better_model(two):
    served, copy = two
    crops = [Crop(f"{i}-{c}", str(i), c) for i in range(20) for c in ("c1", "c2")]
    people = rows(20, seed=1)
    served.upsert(crops, rows(40, seed=2))
    copy.upsert(crops, np.repeat(people, 2, axis=0))
    found = compare(served, copy)
    assert (found.queries, found.labelled) == (40, 40)
    assert found.candidate.rank1 == found.candidate.mutual == 1.0
    assert found.served.rank1 < 0.5
    assert found.overlap < 0.9
    served.delete(Filter(cameras=frozenset({"c2"})))
    assert compare(served, copy) is None
