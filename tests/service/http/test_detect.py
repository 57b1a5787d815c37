"""``POST /detect`` against a running service with the shipped detector."""

from __future__ import annotations

import hashlib
import json
import shutil
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import ExifTags, Image

from service.errors import ArtifactError
from service.http.app import create_app
from service.settings import Settings
from service.testing import FakeEmbedder, encode

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"  # forty-five figures, none of them a person

PLAIN = encode(np.full((90, 160, 3), 90, dtype=np.uint8))
DOT = encode(np.zeros((1, 1, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory):
    with launch(tmp_path_factory.mktemp("data"), detector=NANODET) as service:
        yield service


def detect(service, *images: tuple[str, bytes], **fields: object) -> httpx.Response:
    files = [("images", image) for image in images]
    return service.http.post("/detect", files=files, data=fields)


def test_people_are_found_where_they_are_drawn(service):
    answer = detect(service, ("drawn.png", DRAWN.read_bytes()))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["model"]["name"] == "nanodet-person"
    assert body["score"] == 0.4
    assert {"decode", "detect", "total"} <= body["took_ms"].keys()
    (frame,) = body["results"]
    with Image.open(DRAWN) as picture:
        assert (frame["width"], frame["height"]) == picture.size
    assert frame["image"] == {"index": 0, "file": "drawn.png"}
    assert frame["error"] is None
    assert 25 <= len(frame["persons"]) <= 50
    for person in frame["persons"]:
        box = person["box"]
        assert 0 <= box["x"] < box["x"] + box["width"] <= frame["width"] + 1e-6
        assert 0 <= box["y"] < box["y"] + box["height"] <= frame["height"] + 1e-6
        assert 0.4 < person["score"] <= 1
        quality = person["quality"]
        assert 0.2 < quality["value"] <= 1
        assert quality["sharpness"] > 0.5


def test_many_frames_are_answered_in_their_order_and_each_as_alone(service):
    drawn = DRAWN.read_bytes()
    frames = [("a.png", PLAIN), ("b.png", drawn), ("c.png", PLAIN), ("d.png", drawn)]
    results = detect(service, *frames).json()["results"]
    assert [entry["image"]["file"] for entry in results] == ["a.png", "b.png", "c.png", "d.png"]
    assert [bool(entry["persons"]) for entry in results] == [False, True, False, True]
    (alone,) = detect(service, ("b.png", drawn)).json()["results"]
    assert results[1]["persons"] == alone["persons"] == results[3]["persons"]


def test_a_turned_frame_is_answered_upright(service):
    with Image.open(DRAWN) as picture:
        turned = picture.convert("RGB").transpose(Image.Transpose.ROTATE_90)
        size = picture.size
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn it a quarter clockwise to see it upright
    tagged = BytesIO()
    turned.save(tagged, "PNG", exif=exif)
    (as_stored,) = detect(service, ("a.png", encode(np.asarray(turned)))).json()["results"]
    (upright,) = detect(service, ("a.png", tagged.getvalue())).json()["results"]
    assert (as_stored["width"], as_stored["height"]) == size[::-1]
    assert (upright["width"], upright["height"]) == size
    assert len(upright["persons"]) >= 25


def test_a_higher_score_leaves_fewer_and_the_answer_says_it(service):
    body = detect(service, ("a.png", DRAWN.read_bytes()), score=0.6).json()
    scores = [person["score"] for person in body["results"][0]["persons"]]
    assert body["score"] == 0.6
    assert scores
    assert min(scores) > 0.6


def test_tiles_find_more_of_the_small_ones(service):
    drawn = ("a.png", DRAWN.read_bytes())
    whole, tiled = (
        len(detect(service, drawn, tiles=tiles).json()["results"][0]["persons"])
        for tiles in ("1x1", "2x2")
    )
    assert tiled > whole


HUGE = encode(np.zeros((10_000, 10_000), dtype=np.uint8))  # 100 megapixels in 100 kB
BAD = [
    (b"no image", 422, "invalid_image", "is not a JPEG, PNG"),
    (b"", 422, "invalid_image", "0 bytes"),
    (DOT, 422, "invalid_image", "1x1 pixels: each side needs at least 8"),
    (HUGE, 413, "image_too_large", "10000x10000 pixels: at most 16,000,000"),
    (PLAIN[:60], 422, "invalid_image", "damaged"),
]


@pytest.mark.parametrize(("data", "status", "code", "said"), BAD, ids=lambda value: str(value)[:20])
def test_a_frame_that_cannot_be_used(service, data, status, code, said):
    alone = detect(service, ("bad", data))
    assert (alone.status_code, alone.json()["code"]) == (status, code)
    assert said in alone.json()["detail"]
    bad, good = detect(service, ("bad", data), ("good.png", PLAIN)).json()["results"]
    assert bad["error"]["code"] == code
    assert (bad["width"], bad["height"], bad["persons"]) == (None, None, [])
    assert (good["error"], good["width"], good["height"]) == (None, 160, 90)


def test_several_unusable_frames_are_all_named(service):
    answer = detect(service, ("a.png", b"x"), ("b.png", DOT))
    assert answer.status_code == 422
    assert "image 0 (a.png): " in answer.json()["detail"]
    assert "image 1 (b.png): 1x1 pixels" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"tiles": "5x1"}, "tiles", "write COLUMNSxROWS, each 1 to 4, such as 2x2 (got '5x1')"),
        ({"tiles": "2"}, "tiles", "write COLUMNSxROWS"),
        ({"score": "0"}, "score", "greater than or equal to 0.05"),
        ({"score": "1"}, "score", "less than 1"),
        ({"score": "nan"}, "score", ""),
        ({"score": "high"}, "score", "valid number"),
        ({"min_score": "0.5"}, "min_score", "Unknown field `min_score`"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(service, fields, field, said):
    answer = detect(service, ("a.png", PLAIN), **fields)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert said in error["detail"]


def test_no_frame_and_too_many_frames(service):
    assert service.http.post("/detect", data={"tiles": "2x2"}).status_code == 422
    answer = detect(service, *[("a.png", PLAIN)] * 65)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_more_tiles_than_the_queue_holds_are_refused_with_the_number(service):
    answer = detect(service, *[("a.png", PLAIN)] * 40, tiles="4x4")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert "40 frames, each seen 17 times, are 680 pictures" in answer.json()["detail"]


def test_the_audit_log_keeps_the_digest_and_no_place(service):
    assert detect(service, ("someone.png", PLAIN)).status_code == 200
    entries = service.http.get("/audit", params={"limit": 1000}).text
    assert hashlib.sha256(PLAIN).hexdigest() in entries
    assert "someone" not in entries
    assert "box" not in entries


def test_info_names_the_detector(service):
    detector = service.http.get("/info").json()["detector"]
    assert (detector["name"], detector["score"]) == ("nanodet-person", 0.4)
    assert (detector["input_height"], detector["input_width"]) == (416, 416)
    assert detector["licence"].startswith("Apache-2.0")


def test_metrics_count_the_stage(service):
    detect(service, ("a.png", PLAIN))
    text = service.http.get("/metrics").text
    assert 'reid_stage_seconds_count{stage="detect"}' in text
    assert 'route="/detect"' in text


def test_a_service_without_a_detector_starts_and_says_what_to_set(start, tmp_path):
    with start(detector=tmp_path / "nowhere") as service:
        answer = detect(service, ("a.png", PLAIN))
        assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
        assert "set REID_DETECTOR" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text
        assert service.http.get("/info").json()["detector"] is None
        assert service.http.get("/readyz").status_code == 200
        assert service.http.post("/embed", files={"images": PLAIN}).status_code == 200


def test_a_detector_among_the_models_is_no_model_of_galleries(start, tiny_model, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "nanodet-person").symlink_to(NANODET)
    (folder / "tiny").symlink_to(tiny_model)
    with start(models=folder) as service:
        known = service.http.get("/models").json()
        assert [model["name"] for model in known["models"]] == ["fake", "tiny"]
        assert known["unusable"] == []
        answer = service.http.post("/galleries", json={"name": "a", "model": "nanodet-person"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_broken_detector_stops_the_start(tmp_path):
    folder = tmp_path / "detector"
    folder.mkdir()
    manifest = json.loads((NANODET / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"score": 2}))
    (folder / "model.onnx").write_bytes(b"")
    settings = Settings(data=tmp_path / "data", device="cpu", detector=folder)
    with pytest.raises(ArtifactError, match="score: Input should be less than 1"):
        create_app(settings, embedder=FakeEmbedder())


def test_a_detector_that_vanished_is_unavailable_until_it_is_back(start, tmp_path):
    folder = shutil.copytree(NANODET, tmp_path / "detector")
    with start(detector=folder) as service:
        (folder / "model.onnx").rename(folder / "away.onnx")
        answer = detect(service, ("a.png", PLAIN))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "the detector detector cannot be used" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text
        (folder / "away.onnx").rename(folder / "model.onnx")
        assert detect(service, ("a.png", PLAIN)).status_code == 200


def test_frames_that_no_queue_could_hold_are_refused_and_crops_are_not(start):
    with start(detector=NANODET, max_queue=2, max_images=2) as service:
        answer = detect(service, ("a.png", PLAIN), tiles="2x1")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "are 3 pictures: the network's queue holds at most 2" in answer.json()["detail"]
        assert service.http.post("/embed", files={"images": PLAIN}).status_code == 200
