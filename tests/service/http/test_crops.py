"""``/galleries/{gallery}/crops`` against a running service."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from service.testing import solid

RED, GREEN = solid((200, 20, 20)), solid((20, 200, 20))
MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC


@pytest.fixture
def gallery(service: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    yield service.create(name)
    service.http.delete(f"/galleries/{name}")


@pytest.fixture
def filled(service: Any, gallery: str) -> str:
    entries = [
        {
            "crop_id": f"{n:02}",
            "identity": f"p{n % 3}",
            "camera": f"c{n % 2}",
            "timestamp": MORNING + n,
        }
        for n in range(10)
    ]
    service.add(gallery, entries, *[RED] * 10)
    return gallery


def test_put_creates_then_replaces(service, gallery):
    created = service.put(
        gallery, "a", RED, identity="7", camera="c1", timestamp="2024-01-01T00:00:00Z"
    )
    assert created.status_code == 201
    added = created.json()["added"]
    assert abs(added - time.time()) < 60
    assert created.json() == {
        "crop_id": "a",
        "identity": "7",
        "camera": "c1",
        "track": None,
        "timestamp": 1704067200.0,
        "digest": hashlib.sha256(RED).hexdigest(),
        "origin": "given",
        "added": added,
        "warnings": [],
    }
    replaced = service.put(gallery, "a", GREEN)
    assert replaced.status_code == 200
    assert replaced.json()["identity"] is None
    stored = service.http.get(f"/galleries/{gallery}/crops/a").json()
    assert stored | {"warnings": []} == replaced.json()


@pytest.mark.parametrize(
    "crop_id", ["a/b c.jpg", "größe/人.png", "100%", "delete", "a/...", "?x=1#y"]
)
def test_any_printable_id_works(service, gallery, crop_id):
    path = quote(crop_id)
    assert service.put(gallery, path, RED).json()["crop_id"] == crop_id
    assert service.http.get(f"/galleries/{gallery}/crops/{path}").status_code == 200
    assert service.http.delete(f"/galleries/{gallery}/crops/{path}").json()["deleted"] == 1
    assert service.http.get(f"/galleries/{gallery}/crops/{path}").status_code == 404


@pytest.mark.parametrize("crop_id", ["x" * 201, "bell%07", "%00"])
def test_an_invalid_id_is_rejected(service, gallery, crop_id):
    answer = service.put(gallery, crop_id, RED)
    assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "path")


def test_put_of_a_bad_image_changes_nothing(service, gallery):
    service.put(gallery, "a", RED)
    answer = service.put(gallery, "a", b"nonsense")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
    crop = service.http.get(f"/galleries/{gallery}/crops/a").json()
    assert crop["digest"] == hashlib.sha256(RED).hexdigest()


def test_deleting_an_unknown_crop_is_not_found(service, gallery):
    answer = service.http.delete(f"/galleries/{gallery}/crops/a")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_batch_has_one_result_per_crop(service, gallery):
    service.put(gallery, "old", RED)
    answer = service.add(
        gallery,
        [{"crop_id": "old"}, {"crop_id": "bad"}, {"crop_id": "new", "identity": "7"}],
        *(GREEN, b"nonsense", GREEN),
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(entry["crop_id"], entry["status"]) for entry in results] == [
        ("old", "replaced"),
        ("bad", "error"),
        ("new", "created"),
    ]
    assert results[1]["error"]["code"] == "invalid_image"
    assert service.crop_ids(gallery) == ["new", "old"]


def test_a_batch_of_bad_images_is_answered_one_by_one(service, gallery):
    results = service.add(gallery, [{"crop_id": "a"}], b"nonsense").json()["results"]
    assert [entry["status"] for entry in results] == ["error"]


def test_if_an_id_occurs_twice_the_last_one_wins(service, gallery):
    twice = [{"crop_id": "a", "identity": "1"}, {"crop_id": "a", "identity": "2"}]
    results = service.add(gallery, twice, RED, GREEN).json()["results"]
    assert [entry["status"] for entry in results] == ["created", "replaced"]
    assert service.http.get(f"/galleries/{gallery}/crops/a").json()["identity"] == "2"


@pytest.mark.parametrize(
    ("crops", "complaint"),
    [
        ("not json", "Invalid JSON"),
        ("{}", "list"),
        ("[]", "0 crops for 1 images"),
        ('[{"crop_id": "a"}, {"crop_id": "b"}]', "2 crops for 1 images"),
        ('[{"identity": "a"}]', "crop_id"),
        ('[{"crop_id": ""}]', "crop_id"),
        ('[{"crop_id": "a\\u0000"}]', "crop_id"),
        ('[{"crop_id": "\\ud800"}]', "crops"),
        ('[{"crop_id": "a", "timestamp": "soon"}]', "timestamp"),
        ('[{"crop_id": "a", "timestamp": 1e999}]', "timestamp"),
        ('[{"crop_id": "a", "person": "b"}]', "person"),
    ],
)
def test_invalid_metadata_rejects_the_batch(service, gallery, crops, complaint):
    files = [("images", ("a.png", RED))]
    answer = service.http.post(f"/galleries/{gallery}/crops", files=files, data={"crops": crops})
    assert answer.status_code == 422, answer.text
    assert complaint in answer.json()["detail"]
    assert service.crop_ids(gallery) == []


def test_pages_walk_through_all_crops_in_order(service, filled):
    seen, cursor = [], None
    for _ in range(4):
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = service.http.get(f"/galleries/{filled}/crops", params=query).json()
        seen += [crop["crop_id"] for crop in page["crops"]]
        cursor = page["cursor"]
    assert cursor is None
    assert seen == [f"{n:02}" for n in range(10)]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"cursor": "?"}, {"camera": "c"}])
def test_an_invalid_listing_is_rejected(service, filled, query):
    answer = service.http.get(f"/galleries/{filled}/crops", params=query)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"cameras": "c1"}, "01 03 05 07 09"),
        ({"cameras": ["c0", "c1"], "identities": ["p0", "p1"], "until": MORNING + 4}, "00 01 03"),
        ({"not_camera": "c1", "since": MORNING + 4}, "04 06 08"),
        ({"identities": "p2"}, "02 05 08"),
        ({"since": MORNING + 2, "until": "2026-11-21T08:30:04Z"}, "02 03"),
    ],
)
def test_a_listing_is_filtered(service, filled, query, expected):
    assert service.crop_ids(filled, **query) == expected.split()


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"cameras": ["c1"], "since": MORNING + 2}, "00 01 02 04 06 08"),
        ({"crop_ids": ["03", "04", "nothing"]}, "00 01 02 05 06 07 08 09"),
        ({"crop_ids": []}, "00 01 02 03 04 05 06 07 08 09"),
        ({"not_camera": "c0", "identities": ["p0"]}, "00 01 02 04 05 06 07 08"),
        ({"all": True}, ""),
    ],
)
def test_a_filter_deletes_the_crops_that_pass(service, filled, body, left):
    answer = service.http.post(f"/galleries/{filled}/crops/delete", json=body)
    assert answer.json()["deleted"] == 10 - len(left.split())
    assert service.crop_ids(filled) == left.split()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "all=true"),
        ({"all": False}, "all=true"),
        ({"all": True, "cameras": ["c1"]}, "not both"),
        ({"camera": "c1"}, "camera"),
    ],
)
def test_an_ambiguous_deletion_deletes_nothing(service, filled, body, complaint):
    answer = service.http.post(f"/galleries/{filled}/crops/delete", json=body)
    assert answer.status_code == 422
    assert complaint in answer.json()["detail"]
    assert len(service.crop_ids(filled)) == 10


def test_a_receipt_reports_the_deletion_and_a_dry_run_deletes_nothing(service, filled):
    body = {"identities": ["p0", "p1"], "cameras": ["c1"], "has_identity": True}
    expected = {
        "deleted": 4,
        "pictures": 0,
        "identities": 2,
        "cameras": {"c1": 4},
        "snapshots": [],
        "jobs": [],
        "lists": [],
        "hidden_copies": 0,
        "dry_run": True,
        "warnings": [],
    }
    url = f"/galleries/{filled}/crops/delete"

    def receipt(**asked: bool) -> dict[str, Any]:
        answer = service.http.post(url, json=body | asked).json()
        # Other tests of this service may have stored the same pictures.
        assert {*answer} - {*expected} == {"copies", "time", "request_id"}
        return {name: answer[name] for name in expected}

    assert receipt(dry_run=True) == expected
    assert len(service.crop_ids(filled)) == 10
    assert receipt() == expected | {"dry_run": False}
    assert len(service.crop_ids(filled)) == 6


def test_only_crops_without_identity_are_deleted(service, filled):
    service.put(filled, "nobody", RED)
    url = f"/galleries/{filled}/crops/delete"
    assert service.http.post(url, json={"has_identity": False}).json()["deleted"] == 1
    assert len(service.crop_ids(filled)) == 10


class TestPictures:
    @pytest.fixture
    def keeping(self, service: Any, gallery: str) -> str:
        changed = service.http.patch(f"/galleries/{gallery}", json={"store_crops": True})
        assert changed.json()["store_crops"] is True
        return gallery

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    def test_the_uploaded_picture_is_returned(self, service, keeping, kind):
        picture = solid((200, 20, 20), kind=kind)
        service.put(keeping, "a/b.jpg", picture)
        answer = service.http.get(f"/galleries/{keeping}/pictures/a/b.jpg")
        assert answer.content == picture
        assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
        assert answer.headers["Cache-Control"] == "no-store"
        assert service.http.get(f"/galleries/{keeping}").json()["pictures"] == 1

    def test_no_picture_is_stored_by_default(self, service, gallery):
        service.put(gallery, "a", RED)
        answer = service.http.get(f"/galleries/{gallery}/pictures/a")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    def test_a_batch_stores_the_usable_pictures(self, service, keeping):
        entries = [{"crop_id": name} for name in ("a", "b", "c", "a")]
        service.add(keeping, entries, RED, b"no image", GREEN, GREEN)
        for crop_id, picture in (("a", GREEN), ("c", GREEN)):
            found = service.http.get(f"/galleries/{keeping}/pictures/{crop_id}")
            assert found.content == picture
        assert service.http.get(f"/galleries/{keeping}/pictures/b").status_code == 404

    def test_deleting_a_crop_deletes_its_picture(self, service, keeping):
        service.put(keeping, "a", RED)
        receipt = service.http.delete(f"/galleries/{keeping}/crops/a").json()
        assert (receipt["deleted"], receipt["pictures"]) == (1, 1)
        assert service.http.get(f"/galleries/{keeping}/pictures/a").status_code == 404

    def test_switching_store_crops_off_erases_the_stored_pictures(self, service, keeping):
        service.put(keeping, "a", RED)
        changed = service.http.patch(f"/galleries/{keeping}", json={"store_crops": False})
        assert (changed.json()["pictures"], changed.json()["crops"]) == (0, 1)
        assert service.http.get(f"/galleries/{keeping}/pictures/a").status_code == 404
