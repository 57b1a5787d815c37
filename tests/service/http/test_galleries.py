"""``/galleries`` against a running service."""

from __future__ import annotations

import pytest

from service.testing import solid


def test_a_new_gallery_is_empty_and_belongs_to_the_model(service):
    answer = service.http.post("/galleries", json={"name": "fresh"})
    assert answer.status_code == 201
    assert answer.headers["Location"] == "/galleries/fresh"
    assert answer.json() | {"created": 0, "bytes_on_disk": 0} == {
        "name": "fresh",
        "model_sha256": service.parts.manifest.sha256,
        "dimension": 32,
        "created": 0,
        "crops": 0,
        "identities": 0,
        "cameras": {},
        "bytes_on_disk": 0,
        "damaged": 0,
        "pictures": 0,
        "store_crops": False,
        "keep_for": None,
        "join": False,
        "oldest": None,
    }


def test_creating_twice_conflicts(service):
    service.create("twice")
    again = service.http.post("/galleries", json={"name": "twice"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("body", [{"name": "../up"}, {"name": ""}, {"name": "a", "b": 1}, {}, []])
def test_an_invalid_gallery_is_rejected(service, body):
    assert service.http.post("/galleries", json=body).status_code == 422


def test_stats_count_crops_identities_and_cameras(service):
    service.create("counted")
    service.put("counted", "a", solid((1, 2, 3)), identity="x", camera="c1")
    service.put("counted", "b", solid((1, 2, 3)), identity="x", camera="c2")
    stats = service.http.get("/galleries/counted").json()
    assert (stats["crops"], stats["identities"]) == (2, 1)
    assert stats["cameras"] == {"c1": 1, "c2": 1}
    assert stats["bytes_on_disk"] > 0
    names = [record["name"] for record in service.http.get("/galleries").json()["galleries"]]
    assert names == sorted(names)
    assert {"default", "counted"} <= set(names)


def test_deleting_a_gallery_deletes_its_crops(service):
    service.create("doomed")
    service.put("doomed", "a", solid((1, 2, 3)))
    receipt = service.http.delete("/galleries/doomed").json()
    assert (receipt["deleted"], receipt["snapshots"], receipt["jobs"]) == (1, [], 0)
    for answer in (
        service.http.get("/galleries/doomed"),
        service.http.delete("/galleries/doomed"),
        service.http.get("/galleries/doomed/crops"),
        service.put("doomed", "a", solid((1, 2, 3))),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_gallery_of_another_model_is_listed_but_takes_no_crops(service):
    service.parts.store.create("alien", "f" * 64, 32)
    assert service.http.get("/galleries/alien").json()["model_sha256"] == "f" * 64
    assert service.http.get("/galleries/alien/crops").json()["crops"] == []
    assert service.put("alien", "a", solid((1, 2, 3))).status_code == 409
    receipt = service.http.delete("/galleries/alien").json()
    assert (receipt["deleted"], receipt["snapshots"]) == (0, [])


def test_options_are_set_and_changed(service):
    body = {"name": "kept", "store_crops": True, "keep_for": 3600, "join": True}
    created = service.http.post("/galleries", json=body).json()
    assert {name: created[name] for name in body} == body

    def change(**changes):
        answer = service.http.patch("/galleries/kept", json=changes)
        assert answer.status_code == 200, answer.text
        record = answer.json()
        assert record == service.http.get("/galleries/kept").json()
        return record["store_crops"], record["keep_for"], record["join"]

    assert change() == (True, 3600, True)
    assert change(keep_for=60.5) == (True, 60.5, True)
    assert change(keep_for=None, join=False) == (True, None, False)
    assert change(store_crops=False) == (False, None, False)
    assert change(store_crops=None, join=None) == (False, None, False)


@pytest.mark.parametrize(
    "changes",
    [{"keep_for": 0}, {"keep_for": -1}, {"keep_for": "NaN"}, {"name": "b"}, [], {"join": 7}],
)
def test_invalid_options_are_rejected(service, changes):
    service.http.post("/galleries", json={"name": "stubborn"})
    before = service.http.get("/galleries/stubborn").json()
    assert service.http.patch("/galleries/stubborn", json=changes).status_code == 422
    assert service.http.get("/galleries/stubborn").json() == before


def test_changing_an_unknown_gallery_is_not_found(service):
    assert service.http.patch("/galleries/nowhere", json={"join": True}).status_code == 404


def test_a_gallery_of_an_unknown_model_is_rejected(service):
    answer = service.http.post("/galleries", json={"name": "strange", "model": "nobody's"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    running = service.parts.manifest.name
    answer = service.http.post("/galleries", json={"name": "usual", "model": running})
    assert answer.json()["model_sha256"] == service.parts.manifest.sha256
