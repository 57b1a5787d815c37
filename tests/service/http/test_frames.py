"""``POST /galleries/{gallery}/frames`` against a running service with the shipped detector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image

from service.testing import FakeEmbedder, encode

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"

PLAIN = encode(np.full((90, 160, 3), 90, dtype=np.uint8))
NOISE = encode(np.random.default_rng(5).integers(0, 256, (90, 160, 3), dtype=np.uint8))
LEFT = {"x": 10, "y": 5, "width": 30, "height": 80}
RIGHT = {"x": 100.5, "y": 5.5, "width": 30, "height": 80, "score": 0.75}


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory):
    with launch(tmp_path_factory.mktemp("data"), detector=NANODET) as service:
        yield service


@pytest.fixture
def gallery(service, request) -> Iterator[str]:
    """A new gallery that keeps pictures."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    body = {"name": name, "store_crops": True}
    assert service.http.post("/galleries", json=body).status_code == 201
    yield name
    assert service.http.delete(f"/galleries/{name}").status_code == 200


def send(service, gallery: str, *images: tuple[str, bytes], **fields: Any) -> httpx.Response:
    files = [("images", image) for image in images]
    data = {
        name: json.dumps(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    return service.http.post(f"/galleries/{gallery}/frames", files=files, data=data)


def ids(frame: dict[str, Any]) -> list[str]:
    return [person["crop_id"] for person in frame["persons"]]


def test_the_people_whom_detect_finds_are_stored(service, gallery):
    drawn = ("drawn.png", DRAWN.read_bytes())
    answer = send(service, gallery, drawn, camera="c1", timestamp="2026-11-21T08:30:00Z")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"]["name"], body["detector"]["name"]) == ("fake", "nanodet-person")
    assert (body["score"], body["dry_run"], body["warnings"]) == (0.4, False, [])
    assert {"decode", "detect", "cut", "embed", "upsert", "total"} <= body["took_ms"].keys()
    (frame,) = body["results"]
    detected = service.http.post("/detect", files=[("images", drawn)]).json()["results"][0]
    assert {name: frame[name] for name in ("image", "width", "height", "error")} == {
        name: detected[name] for name in ("image", "width", "height", "error")
    }
    found = [{name: one[name] for name in ("box", "score", "quality")} for one in frame["persons"]]
    assert found == detected["persons"]
    assert len(found) >= 25
    assert frame["frame_id"] == "drawn.png"
    assert ids(frame)[:2] == ["drawn.png/01", "drawn.png/02"]
    assert {person["status"] for person in frame["persons"]} == {"created"}
    assert service.crop_ids(gallery, cameras="c1") == sorted(ids(frame))
    crop = service.http.get(f"/galleries/{gallery}/crops/drawn.png/01").json()
    assert (crop["timestamp"], crop["identity"], crop["origin"]) == (1795249800.0, None, "given")


def test_each_crop_is_stored_as_if_it_had_been_sent(service, gallery):
    drawn = ("drawn.png", DRAWN.read_bytes())
    (frame,) = send(service, gallery, drawn, score=0.6).json()["results"]
    crop_id, box = frame["persons"][0]["crop_id"], frame["persons"][0]["box"]
    picture = service.http.get(f"/galleries/{gallery}/pictures/{crop_id}").content
    with Image.open(BytesIO(picture)) as crop:
        assert crop.width == pytest.approx(box["width"], abs=2)
        assert crop.height == pytest.approx(box["height"], abs=2)
        corner = (int(box["x"]), int(box["y"]))
        with Image.open(DRAWN) as whole:
            part = whole.convert("RGB")
        part = part.crop((*corner, corner[0] + crop.width, corner[1] + crop.height))
        assert np.abs(np.asarray(part, float) - np.asarray(crop, float)).mean() < 8
    service.put(gallery, "sent", picture)
    stored, sent = (
        service.http.get(f"/galleries/{gallery}/crops/{one}").json() for one in (crop_id, "sent")
    )
    assert stored["digest"] == sent["digest"] == hashlib.sha256(picture).hexdigest()
    search = {"gallery": gallery, "crop_ids": crop_id, "among": "sent", "min_score": "-1"}
    match = service.http.post("/search", files=[("images", PLAIN)], data=search).json()
    assert match["results"][1]["matches"][0]["score"] == pytest.approx(1.0, abs=1e-6)


def test_the_same_frame_again_replaces_its_crops(service, gallery):
    drawn = ("drawn.png", DRAWN.read_bytes())
    (first,) = send(service, gallery, drawn).json()["results"]
    (again,) = send(service, gallery, drawn).json()["results"]
    assert ids(first) == ids(again)
    assert {person["status"] for person in again["persons"]} == {"replaced"}
    assert len(service.crop_ids(gallery)) == len(ids(first))


def test_a_frame_without_people_is_a_success(service, gallery):
    body = send(service, gallery, ("a.png", PLAIN)).json()
    (frame,) = body["results"]
    assert (frame["persons"], frame["error"], frame["width"]) == ([], None, 160)
    assert service.crop_ids(gallery) == []


def test_a_dry_run_finds_and_stores_nothing(service, gallery):
    body = send(
        service, gallery, ("drawn.png", DRAWN.read_bytes()), dry_run=True, timestamp="2026-11-21"
    ).json()
    persons = body["results"][0]["persons"]
    assert body["dry_run"] is True
    assert len(persons) >= 25
    assert {"embed", "detect"} <= body["took_ms"].keys()
    assert "upsert" not in body["took_ms"]
    assert {
        (one["crop_id"], one["status"], one["identity"], one["origin"], one["error"])
        for one in persons
    } == {(None,) * 5}
    assert [warning["code"] for warning in body["warnings"]] == ["assumed_utc"]
    assert service.crop_ids(gallery) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_persons_of_low_quality_are_dropped_with_the_reason(service, gallery, dry_run):
    drawn = ("drawn.png", DRAWN.read_bytes())
    (frame,) = send(service, gallery, drawn, min_quality=0.85, dry_run=dry_run).json()["results"]
    good = [one for one in frame["persons"] if one["quality"]["value"] >= 0.85]
    bad = [one for one in frame["persons"] if one["quality"]["value"] < 0.85]
    assert len(good) >= 3
    assert len(bad) >= 3
    assert {one["reason"] for one in good} == {None}
    assert {one["reason"] for one in bad} <= {"too_small", "low_score", "cut_off", "covered"}
    assert {(one["status"], one["crop_id"], one["error"]) for one in bad} == {
        ("dropped", None, None)
    }
    numbers = [f"drawn.png/{number:02d}" for number in range(1, len(frame["persons"]) + 1)]
    stored = [
        crop_id
        for crop_id, one in zip(numbers, frame["persons"], strict=True)
        if one["quality"]["value"] >= 0.85
    ]
    assert service.crop_ids(gallery) == ([] if dry_run else stored)


def test_the_quality_of_boxes_of_ones_own(service, gallery):
    behind = {"x": 20, "y": 5, "width": 30, "height": 60}
    boxes = [[LEFT, behind, RIGHT]]
    (frame,) = send(service, gallery, ("a.png", NOISE), boxes=boxes, min_quality=0.5).json()[
        "results"
    ]
    left, hidden, right = (one["quality"] for one in frame["persons"])
    assert left["covered"] == right["covered"] == 0
    assert 0.6 < hidden["covered"] < 0.75  # two thirds are behind the first
    assert [one["status"] for one in frame["persons"]] == ["created", "dropped", "created"]
    assert frame["persons"][1]["reason"] == "covered"


@pytest.mark.parametrize("wrong", ["-0.1", "1.1", "nan", "much"])
def test_a_quality_that_is_no_share_is_rejected(service, gallery, wrong):
    answer = send(service, gallery, ("a.png", PLAIN), min_quality=wrong)
    assert answer.status_code == 422
    assert "min_quality" in answer.text


@pytest.mark.parametrize("boxes", [None, [[LEFT], [LEFT], [RIGHT]]], ids=["found", "given"])
def test_an_unusable_frame_fails_alone(service, gallery, boxes):
    drawn = ("drawn.png", DRAWN.read_bytes())
    fields = {} if boxes is None else {"boxes": boxes}
    answer = send(service, gallery, drawn, ("bad.png", b"x"), ("a.png", PLAIN), **fields)
    assert answer.status_code == 200, answer.text
    good, bad, plain = answer.json()["results"]
    assert bad["error"]["code"] == "invalid_image"
    assert (bad["width"], bad["height"], bad["persons"]) == (None, None, [])
    assert service.crop_ids(gallery) == sorted(ids(good) + ids(plain))
    assert good["persons"]


def test_a_request_without_a_usable_frame_is_rejected(service, gallery):
    answer = send(service, gallery, ("bad.png", b"x"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
    answer = send(service, gallery, ("a.png", b"x"), ("b.png", b"y"), boxes=[[LEFT], []])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "image 1 (b.png)" in answer.json()["detail"]


def test_boxes_of_the_caller_are_cut_as_they_are(service, gallery):
    pixels = np.zeros((90, 160, 3), dtype=np.uint8)
    pixels[5:85, 10:40] = (200, 20, 20)
    pixels[5:87, 100:131] = (20, 20, 200)
    answer = send(service, gallery, ("a.png", encode(pixels)), boxes=[[LEFT, RIGHT]])
    body = answer.json()
    assert (body["detector"], body["score"]) == (None, None)
    first, second = body["results"][0]["persons"]
    assert first["box"] == {"x": 10.0, "y": 5.0, "width": 30.0, "height": 80.0}
    assert (first["score"], second["score"]) == (None, 0.75)
    expected = ((200, 20, 20), (30, 80)), ((20, 20, 200), (31, 81))
    for person, (colour, size) in zip((first, second), expected, strict=True):
        path = f"/galleries/{gallery}/pictures/{person['crop_id']}"
        with Image.open(BytesIO(service.http.get(path).content)) as crop:
            assert crop.size == size
            assert np.abs(np.asarray(crop, float) - colour).max() < 12


def test_boxes_are_on_the_upright_frame(service, gallery):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = BytesIO()
    Image.new("RGB", (160, 90)).save(turned, "JPEG", exif=exif)
    low = {"x": 10, "y": 100, "width": 30, "height": 60}
    (frame,) = send(service, gallery, ("a.jpg", turned.getvalue()), boxes=[[low]]).json()["results"]
    assert (frame["width"], frame["height"], ids(frame)) == (90, 160, ["a.jpg/01"])


def test_a_box_may_be_a_pixel_too_large_and_is_clipped(service, gallery):
    whole = {"x": -0.6, "y": -1, "width": 161.4, "height": 92}
    (frame,) = send(service, gallery, ("a.png", PLAIN), boxes=[[whole]]).json()["results"]
    path = f"/galleries/{gallery}/pictures/{frame['persons'][0]['crop_id']}"
    with Image.open(BytesIO(service.http.get(path).content)) as crop:
        assert crop.size == (160, 90)


WRONG = [
    ([[LEFT | {"x": 140}]], "boxes[1][0]: x 140 to 170 and y 5 to 85 is not on its frame"),
    ([[LEFT | {"x": -2}]], "boxes[1][0]: x -2 to 28"),
    ([[LEFT | {"y": 12}]], "which has 160x90 pixels"),
    ([[LEFT, LEFT | {"x": 160.5, "width": 0.5}]], "boxes[1][1]: x 160.5 to 161"),
    ([[LEFT | {"x": -0.9, "width": 0.5}]], "is not on its frame"),
    ([[LEFT | {"x": 1e308, "width": 1e308}]], "is not on its frame"),
    ([[LEFT | {"width": 0}]], "greater than 0"),
    ([[LEFT | {"height": -3}]], "greater than 0"),
    ([[LEFT | {"height": 1e-9}]], "is not on its frame"),
    ([[LEFT | {"x": float("nan")}]], "finite number"),
    ([[LEFT | {"width": float("inf")}]], "finite number"),
    ([[LEFT | {"x": "10"}]], "valid number"),
    ([[LEFT | {"x": True}]], "valid number"),
    ([[LEFT | {"x": None}]], "valid number"),
    ([[LEFT | {"score": 1.5}]], "less than or equal to 1"),
    ([[LEFT | {"w": 3}]], "Unknown field `w`"),
    ([[{"x": 1}]], "Field required"),
    ([[7]], "valid dictionary"),
    ([7], "valid list"),
    ([[]] * 2, "boxes has 3 entries for 2 images"),
    ([], "boxes has 1 entries for 2 images"),
    ([[LEFT] * 1001], "at most 1000 items"),
]


@pytest.mark.parametrize(("boxes", "said"), WRONG, ids=lambda value: str(value)[:50])
def test_a_wrong_box_rejects_the_request_and_stores_nothing(service, gallery, boxes, said):
    answer = send(service, gallery, ("a.png", PLAIN), ("b.png", PLAIN), boxes=[[LEFT], *boxes])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
    assert said in answer.json()["detail"]
    assert len(answer.content) < 5000
    assert service.crop_ids(gallery) == []


MANY_EMPTY = "[[" + "{}," * 200_000 + "{}]]"


@pytest.mark.parametrize(
    "text",
    ["null", "{}", "[" * 5000, "7", "[[{}", '"[[]]"', MANY_EMPTY, "[[1e999]]"],
    ids=lambda text: text[:8],
)
def test_boxes_that_are_no_list_are_rejected(service, gallery, text):
    answer = send(service, gallery, ("a.png", PLAIN), boxes=text)
    assert answer.status_code == 422, answer.text[:300]
    assert len(answer.content) < 5000


def test_a_person_too_small_to_be_a_crop_fails_alone(service, gallery):
    tiny = LEFT | {"width": 4}
    answer = send(service, gallery, ("a.png", PLAIN), boxes=[[tiny, RIGHT]])
    small, large = answer.json()["results"][0]["persons"]
    assert (small["status"], small["crop_id"], small["origin"]) == ("error", None, None)
    assert "each side needs at least 8" in small["error"]["detail"]
    assert large["crop_id"] == "a.png/02"
    assert service.crop_ids(gallery) == ["a.png/02"]
    dry = send(service, gallery, ("a.png", PLAIN), boxes=[[tiny, RIGHT]], dry_run=True)
    assert [one["status"] for one in dry.json()["results"][0]["persons"]] == ["error", None]


def test_each_frame_may_have_its_own_id_camera_and_time(service, gallery):
    morning = "2026-11-21T08:30"
    frames = [
        {"frame_id": "c2/000451", "camera": "c2", "timestamp": morning, "zone": "+01:00"},
        {},
    ]
    answer = send(
        service,
        gallery,
        ("a.png", PLAIN),
        ("a.png", PLAIN),
        frames=frames,
        boxes=[[LEFT], [LEFT]],
        camera="c1",
        timestamp=morning,
        zone="+02:00",
    )
    assert answer.status_code == 200, answer.text
    assert [ids(frame) for frame in answer.json()["results"]] == [["c2/000451/01"], ["a.png/01"]]
    assert answer.json()["warnings"] == []
    stored = [
        service.http.get(f"/galleries/{gallery}/crops/{crop_id}").json()
        for crop_id in ("c2/000451/01", "a.png/01")
    ]
    assert [crop["camera"] for crop in stored] == ["c2", "c1"]
    assert [crop["timestamp"] for crop in stored] == [1795246200.0, 1795242600.0]


def test_the_id_of_a_frame_deletes_its_crops(service, gallery):
    send(service, gallery, ("a.png", PLAIN), ("a", PLAIN), boxes=[[LEFT, RIGHT], [LEFT]])
    body = {"id_prefix": "a.png/"}
    deleted = service.http.post(f"/galleries/{gallery}/crops/delete", json=body).json()
    assert deleted["deleted"] == 2
    assert service.crop_ids(gallery) == ["a/01"]


@pytest.mark.parametrize(
    ("names", "frames", "said"),
    [
        (("a.png", "a.png"), None, "images 0 and 1 are both called 'a.png'"),
        (("a.png", "b.png"), [{"frame_id": "b.png"}, {}], "are both called 'b.png'"),
        (("é.png", "e\u0301.png"), None, "are both called"),
        (("a.png", "x" * 196), None, "the name of image 1 cannot be the id of a frame, because it"),
        (("..", "a.png"), None, "must not contain the segment"),
        (("a.png", "b.png"), [{"frame_id": "a//b"}, {}], "must not begin or end with '/'"),
        (("a.png", "b.png"), [{"frame_id": "x" * 196}, {}], "at most 195 characters"),
        (("a.png", "b.png"), [{"identity": "anna"}, {}], "Unknown field `identity`"),
        (("a.png", "b.png"), [{}], "frames has 1 entries for 2 images"),
        (("a.png", "b.png"), [{}] * 1001, "at most 1000 items"),
    ],
)
def test_ids_that_cannot_be(service, gallery, names, frames, said):
    fields = {} if frames is None else {"frames": frames}
    answer = send(service, gallery, *[(name, PLAIN) for name in names], **fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
    assert said in answer.json()["detail"]


def test_the_longest_id_of_a_frame_makes_ids_of_crops(service, gallery):
    frames = [{"frame_id": "x" * 195}]
    boxes = [[{"x": 8, "y": 8, "width": 8, "height": 8}] * 1000]
    answer = send(service, gallery, ("a.png", PLAIN), frames=frames, boxes=boxes)
    assert answer.status_code == 200, answer.text[:300]
    assert len(service.crop_ids(gallery)) == 1000
    assert "x" * 195 + "/1000" in service.crop_ids(gallery)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tiles": "5x1"}, "write COLUMNSxROWS"),
        ({"score": "0"}, "greater than or equal to 0.05"),
        ({"dry_run": "maybe"}, "valid boolean"),
        ({"camera": "\u202e"}, "bidirectional"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"identity": "anna"}, "Unknown field `identity`"),
        ({"boxes": [[]], "tiles": "2x2"}, "tiles and score are for the detector"),
        ({"boxes": [[]], "score": "0.5"}, "tiles and score are for the detector"),
    ],
)
def test_a_field_that_breaks_a_rule(service, gallery, fields, said):
    answer = send(service, gallery, ("a.png", PLAIN), **fields)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


def test_a_gallery_that_does_not_exist(service):
    answer = send(service, "absent", ("a.png", PLAIN), boxes=[[LEFT]])
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_no_frame_and_too_many_frames(service, gallery):
    path = f"/galleries/{gallery}/frames"
    assert service.http.post(path, data={"tiles": "2x2"}).status_code == 422
    answer = send(service, gallery, *[(f"{number}.png", PLAIN) for number in range(65)])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_more_people_than_one_request_may_hold(service, gallery):
    frames = [("a.png", PLAIN), ("b.png", PLAIN)]
    answer = send(service, gallery, *frames, boxes=[[LEFT] * 501, [LEFT] * 500])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "1,001 persons: at most 1,000" in answer.json()["detail"]
    assert service.crop_ids(gallery) == []


def test_the_audit_log_keeps_the_number_and_no_name(service, gallery):
    send(service, gallery, ("someone.png", PLAIN), boxes=[[LEFT, RIGHT]])
    send(service, gallery, ("someone.png", NOISE), boxes=[[LEFT]], dry_run=True)
    text = service.http.get("/audit", params={"limit": 1000}).text
    made, looked = [entry for entry in json.loads(text)["entries"] if entry["gallery"] == gallery][
        -2:
    ]
    assert (made["route"], made["crops"], made["queries"]) == (
        "/galleries/{gallery}/frames",
        2,
        [],
    )
    assert (looked["crops"], looked["queries"]) == (0, [hashlib.sha256(NOISE).hexdigest()])
    assert "someone" not in text


def test_boxes_need_no_detector(start, tmp_path):
    with start(detector=tmp_path / "nowhere") as service:
        answer = send(service, "default", ("a.png", PLAIN))
        assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
        assert "set REID_DETECTOR" in answer.json()["detail"]
        assert send(service, "default", ("a.png", PLAIN), boxes=[[LEFT]]).status_code == 200
        assert service.crop_ids("default") == ["a.png/01"]


def test_more_people_than_the_queue_holds_wait_for_each_other(start):
    with start(max_queue=3, max_images=3) as service:
        answer = send(service, "default", ("a.png", PLAIN), boxes=[[LEFT] * 7])
        assert answer.status_code == 200, answer.text
        assert len(service.crop_ids("default")) == 7


def test_boxes_may_not_be_cut_over_and_over(start):
    with start(max_images=2, max_image_pixels=160 * 90, max_request_bytes=100_000) as service:
        whole = {"x": 0, "y": 0, "width": 160, "height": 90}
        answer = send(service, "default", ("a.png", PLAIN), boxes=[[whole] * 3])
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "cover 43,200 pixels together: at most 28,800" in answer.json()["detail"]
        assert send(service, "default", ("a.png", PLAIN), boxes=[[whole] * 2]).status_code == 200
    with start(max_request_bytes=60_000) as service:
        answer = send(service, "default", ("a.png", NOISE), boxes=[[whole] * 20])
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "more than 60,000 bytes together" in answer.json()["detail"]


def test_a_network_that_fails_stores_nothing(start):
    def fail(image: np.ndarray) -> None:
        if image.any():  # not in the probe
            raise RuntimeError("out of memory")

    with start(FakeEmbedder(fault=fail), max_images=2) as service:
        answer = send(service, "default", ("a.png", PLAIN), boxes=[[LEFT] * 5])
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert service.crop_ids("default") == []
