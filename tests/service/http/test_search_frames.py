"""``POST /search`` with ``detect``: each person on a frame is a query."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.testing import encode

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"

PLAIN = ("plain.png", encode(np.full((90, 160, 3), 90, dtype=np.uint8)))
BAD = ("bad.png", b"no image")


@pytest.fixture(scope="module")
def few() -> tuple[str, bytes]:
    """The upper part of the picture of drawn people, with few of them."""
    with Image.open(DRAWN) as picture:
        return "few.png", encode(np.asarray(picture.convert("RGB").crop((0, 0, 588, 160))))


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory) -> Iterator[Any]:
    with launch(tmp_path_factory.mktemp("data"), detector=NANODET) as service:
        yield service


@pytest.fixture(scope="module")
def persons(service, few) -> list[dict[str, Any]]:
    """What ``POST /frames`` stored of the frame."""
    service.create("seen")
    answer = service.http.post("/galleries/seen/frames", files=[("images", few)])
    return answer.json()["results"][0]["persons"]


def search(service, *images: tuple[str, bytes], **fields: Any) -> dict[str, Any]:
    answer = service.search(*images, gallery="seen", **{"detect": "true"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_person_finds_the_crop_of_the_same_frame(service, few, persons):
    body = search(service, few, top_k=1)
    assert {"decode", "detect", "cut", "embed", "query"} <= body["took_ms"].keys()
    assert 2 <= len(persons) == len(body["results"])
    for entry, person in zip(body["results"], persons, strict=True):
        assert entry["images"] == [{"index": 0, "file": "few.png"}]
        assert entry["person"] == {name: person[name] for name in ("box", "score", "quality")}
        assert (entry["status"], entry["error"]) == ("matched", None)
        (match,) = entry["matches"]
        assert (match["crop_id"], match["score"]) == (person["crop_id"], pytest.approx(1, abs=1e-5))


def test_results_are_in_the_order_of_the_frames_and_then_of_the_crops(service, few, persons):
    body = search(service, PLAIN, BAD, few, crop_ids="few.png/01")
    nobody, bad, *found, stored = body["results"]
    assert (nobody["status"], nobody["images"][0]["file"]) == ("nobody", "plain.png")
    assert (nobody["matches"], nobody["considered"], nobody["person"]) == ([], None, None)
    assert (bad["status"], bad["images"][0]["index"]) == ("error", 1)
    assert bad["error"]["code"] == "invalid_image"
    assert [entry["images"][0]["index"] for entry in found] == [2] * len(persons)
    assert (stored["crop_ids"], stored["person"]) == (["few.png/01"], None)


def test_a_frame_without_people_is_a_success_even_alone(service, persons):
    (entry,) = search(service, PLAIN, rerank="true", group_by="identity")["results"]
    assert entry["status"] == "nobody"
    body = search(service, BAD, PLAIN)
    assert [entry["status"] for entry in body["results"]] == ["error", "nobody"]
    assert body["min_score"] == 0.5


def test_without_a_usable_frame_the_request_is_rejected(service, persons):
    answer = service.search(BAD, gallery="seen", detect="true")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
    answer = service.search(BAD, BAD, gallery="seen", detect="true")
    assert "image 1 (bad.png)" in answer.json()["detail"]


def test_a_higher_score_leaves_fewer_queries_and_tiles_are_looked_at(service, few, persons):
    assert 0 < len(search(service, few, detect_score="0.65")["results"]) < len(persons)
    assert search(service, few, tiles="2x1")["results"]


def test_the_persons_are_on_the_camera_of_the_request(service, few, persons):
    service.create("placed")
    files = [("images", few)]
    service.http.post("/galleries/placed/frames", files=files, data={"camera": "c1"})
    fields = {"gallery": "placed", "detect": "true", "exclude_same_camera": "true"}
    for camera, status in (("c1", "unknown"), ("c2", "matched")):
        body = service.search(few, camera=camera, **fields).json()
        assert {entry["status"] for entry in body["results"]} == {status}


def test_a_search_for_crops_has_no_person(service, few, persons):
    (entry,) = search(service, few, detect="false")["results"]
    assert entry["person"] is None
    assert entry["status"] in {"matched", "unknown"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"combine": "true"}, "combine makes one person of those that detect finds"),
        ({"detect": "false", "tiles": "2x2"}, "need detect=true"),
        ({"detect": "false", "detect_score": "0.5"}, "need detect=true"),
        ({"tiles": "9x9"}, "write COLUMNSxROWS"),
        ({"detect_score": "nan"}, "detect_score"),
        ({"exclude_same_camera": "true"}, "exclude_same_camera needs camera"),
    ],
)
def test_a_field_that_breaks_a_rule(service, persons, fields, said):
    answer = service.search(PLAIN, gallery="seen", **{"detect": "true"} | fields)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


def test_detect_needs_a_frame(service, persons):
    data = {"gallery": "seen", "crop_ids": "few.png/01", "detect": "true"}
    answer = service.http.post("/search", data=data, files=[("camera", (None, "c1"))])
    assert answer.status_code == 422
    assert "detect needs images" in answer.json()["detail"]


def test_too_many_people_and_no_such_gallery(service, persons):
    drawn = [(f"{number}.png", DRAWN.read_bytes()) for number in range(2)]
    answer = service.search(*drawn, gallery="seen", detect="true")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "each person on a frame is one" in answer.json()["detail"]
    answer = service.search(PLAIN, gallery="absent", detect="true")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_the_audit_log_keeps_the_digest_of_the_frame(service, few, persons):
    search(service, few)
    text = service.http.get("/audit", params={"limit": 1000}).text
    assert hashlib.sha256(few[1]).hexdigest() in text


def test_a_service_without_a_detector_says_what_to_set(start, tmp_path):
    with start(detector=tmp_path / "nowhere") as service:
        answer = service.search(PLAIN, detect="true")
        assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
        assert service.search(PLAIN).status_code == 200
