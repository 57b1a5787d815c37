"""``POST /search`` and ``POST /embed`` against a running service."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from service.search.kreciprocal import rerank
from service.testing import TINY_CALIBRATION, solid

RED, GREEN = (200, 20, 20), (20, 200, 20)
MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC
QUERY = ("query.png", solid((200, 20, 30), kind="PNG"))
GREEN_QUERY = ("green.png", solid((20, 200, 22), kind="PNG"))
BAD = ("bad.png", b"not an image")
EVERYTHING = {"min_score": -1, "top_k": 100}


def result(service: Any, gallery: str, *images: Any, **fields: Any) -> dict[str, Any]:
    answer = service.search(*images or [QUERY], gallery=gallery, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"][0]


def ids(entry: dict[str, Any]) -> list[str]:
    return [match["crop_id"] for match in entry["matches"]]


def embeddings(service: Any, *images: Any) -> np.ndarray:
    answer = service.http.post("/embed", files=[("images", image) for image in images])
    return np.array([entry["embedding"] for entry in answer.json()["results"]], dtype=np.float32)


def test_the_same_identity_comes_first(service, people):
    answer = service.search(QUERY, gallery=people).json()
    assert answer["model"] == {"name": "fake", "sha256": service.parts.manifest.sha256}
    assert answer["gallery"] == people
    assert answer["min_score"] == TINY_CALIBRATION.threshold
    assert set(answer["took_ms"]) == {"decode", "embed", "query", "total"}
    (entry,) = answer["results"]
    assert entry["images"] == [{"index": 0, "file": "query.png"}]
    assert entry["status"] == "matched"
    assert [match["identity"] for match in entry["matches"][:3]] == ["red"] * 3
    assert [match["rank"] for match in entry["matches"]] == list(
        range(1, len(entry["matches"]) + 1)
    )
    best = entry["matches"][0]
    assert best["camera"] in {"c1", "c2", "c3"}
    assert best["timestamp"] in {MORNING, MORNING + 60.0, MORNING + 120.0}
    odds = math.exp(-(TINY_CALIBRATION.slope * best["score"] + TINY_CALIBRATION.intercept))
    assert best["probability"] == pytest.approx(1 / (1 + odds))
    assert best["rerank_distance"] is None
    assert best["group_size"] is None
    assert entry["nearest"]["score"] == best["score"]


def test_scores_are_cosines_in_descending_order(service, people):
    entry = result(service, people, **EVERYTHING)
    scores = [match["score"] for match in entry["matches"]]
    assert len(scores) == 11
    assert scores == sorted(scores, reverse=True)
    query, crop = embeddings(service, QUERY, ("x", solid((200, 20, 20), kind="PNG")))
    found = next(match for match in entry["matches"] if match["crop_id"] == "red/c1.png")
    assert found["score"] == pytest.approx(float(query @ crop), abs=1e-6)


def test_top_k_limits_and_has_a_default(service, people, start):
    assert len(ids(result(service, people, top_k=2, min_score=-1))) == 2
    assert len(ids(result(service, people, min_score=-1))) == 10
    with start(top_k=1) as modest:
        modest.put("default", "a", QUERY[1])
        modest.put("default", "b", QUERY[1])
        assert len(ids(result(modest, "default"))) == 1


def test_each_image_has_its_own_result_in_order(service, people):
    answer = service.search(GREEN_QUERY, QUERY, gallery=people, top_k=1).json()
    assert [entry["images"] for entry in answer["results"]] == [
        [{"index": 0, "file": "green.png"}],
        [{"index": 1, "file": "query.png"}],
    ]
    assert [entry["matches"][0]["identity"] for entry in answer["results"]] == ["green", "red"]


def test_one_bad_image_does_not_affect_the_others(service, people):
    answer = service.search(QUERY, BAD, GREEN_QUERY, gallery=people).json()
    statuses = [entry["status"] for entry in answer["results"]]
    assert statuses == ["matched", "error", "matched"]
    broken = answer["results"][1]
    assert broken["images"] == [{"index": 1, "file": "bad.png"}]
    assert broken["matches"] == []
    assert broken["error"]["code"] == "invalid_image"
    assert broken["error"]["status"] == 422
    assert "not a JPEG, PNG, WebP, BMP or TIFF" in broken["error"]["detail"]


def test_a_request_without_a_usable_image_is_refused(service, people):
    alone = service.search(BAD, gallery=people)
    assert (alone.status_code, alone.json()["code"]) == (422, "invalid_image")
    both = service.search(BAD, ("worse.png", b""), gallery=people)
    assert (both.status_code, both.json()["code"]) == (422, "invalid_input")
    assert "none of the 2 images is usable" in both.json()["detail"]
    assert "worse.png" in both.json()["detail"]


def test_unknown_reports_the_nearest_score(service, people):
    entry = result(service, people, min_score=0.999999, cameras="c3")
    assert entry["status"] == "unknown"
    assert entry["matches"] == []
    assert 0.5 < entry["nearest"]["score"] < 0.999999
    assert entry["nearest"]["probability"] == pytest.approx(
        TINY_CALIBRATION.probability(entry["nearest"]["score"])
    )


def test_an_empty_gallery_finds_nobody(service):
    entry = result(service, "default")
    assert (entry["status"], entry["matches"], entry["nearest"]) == ("unknown", [], None)


def test_min_score_is_the_threshold(service, people):
    scores = [match["score"] for match in result(service, people, **EVERYTHING)["matches"]]
    line = (scores[3] + scores[4]) / 2
    assert len(ids(result(service, people, min_score=line))) == 4
    calibrated = sum(score >= TINY_CALIBRATION.threshold for score in scores)
    assert len(ids(result(service, people))) == calibrated


def test_exclude_same_camera_leaves_out_the_querys_own_camera(service, people):
    entry = result(service, people, camera="c1", exclude_same_camera=True, **EVERYTHING)
    assert len(ids(entry)) == 8
    assert not any(match["camera"] == "c1" for match in entry["matches"])


def test_camera_alone_excludes_nothing(service, people):
    assert len(ids(result(service, people, camera="c1", **EVERYTHING))) == 11


def test_exclude_same_camera_needs_the_camera(service, people):
    refused = service.search(QUERY, gallery=people, exclude_same_camera=True)
    assert refused.status_code == 422
    assert "exclude_same_camera needs camera" in refused.json()["detail"]


def test_cameras_may_be_given_several_times(service, people):
    entry = result(service, people, cameras=["c1", "c3"], **EVERYTHING)
    assert {match["camera"] for match in entry["matches"]} == {"c1", "c3"}
    assert len(ids(entry)) == 6


def test_since_includes_and_until_excludes_its_moment(service, people):
    entry = result(service, people, since=MORNING + 60, until=MORNING + 120, **EVERYTHING)
    assert {match["timestamp"] for match in entry["matches"]} == {MORNING + 60.0}
    minute = datetime.fromtimestamp(MORNING + 60, UTC)
    same = result(
        service,
        people,
        since=minute.isoformat(),
        until="2026-11-21T08:32:00Z",
        **EVERYTHING,
    )
    assert ids(same) == ids(entry)
    local = result(service, people, since="2026-11-21T10:32:00+02:00", **EVERYTHING)
    assert {match["timestamp"] for match in local["matches"]} == {MORNING + 120.0}


def test_rerank_orders_by_k_reciprocal_distance(service, people):
    plain = result(service, people, **EVERYTHING)
    entry = result(service, people, rerank=True, **EVERYTHING)
    distances = [match["rerank_distance"] for match in entry["matches"]]
    assert distances == sorted(distances)
    gallery = service.parts.store.open(people)
    expected = rerank(embeddings(service, QUERY), gallery.embeddings(ids(plain)))[0]
    by_id = dict(zip(ids(plain), expected, strict=True))
    assert distances == pytest.approx([by_id[crop_id] for crop_id in ids(entry)], abs=1e-5)


def test_crops_beyond_rerank_top_keep_their_place(service, people):
    plain = result(service, people, **EVERYTHING)
    entry = result(service, people, rerank=True, rerank_top=4, **EVERYTHING)
    assert sorted(ids(entry)[:4]) == sorted(ids(plain)[:4])
    assert ids(entry)[4:] == ids(plain)[4:]
    assert [match["rerank_distance"] is None for match in entry["matches"]] == [False] * 4 + (
        [True] * 7
    )
    assert "rerank" in service.search(QUERY, gallery=people, rerank=True).json()["took_ms"]


def test_group_by_identity_keeps_the_best_crop_of_each(service, people):
    entry = result(service, people, group_by="identity", **EVERYTHING)
    identities = [match["identity"] for match in entry["matches"]]
    assert sorted(filter(None, identities)) == ["blue", "green", "red"]
    assert identities.count(None) == 2  # each crop without identity is its own group
    sizes = {match["identity"]: match["group_size"] for match in entry["matches"]}
    assert sizes["red"] == 3
    assert sizes[None] == 1
    plain = result(service, people, **EVERYTHING)
    assert entry["matches"][0]["crop_id"] == plain["matches"][0]["crop_id"]


def test_many_crops_of_one_identity_do_not_hide_the_others(service):
    gallery = service.create("crowd")
    for start in (0, 50):
        entries = [{"crop_id": f"{start + i}", "identity": "red"} for i in range(50)]
        service.add(gallery, entries, *[solid(RED, kind="PNG")] * 50)
    service.put(gallery, "green", solid(GREEN, kind="PNG"), identity="green")
    entry = result(service, gallery, group_by="identity", top_k=2, min_score=-1)
    assert [match["identity"] for match in entry["matches"]] == ["red", "green"]
    assert entry["matches"][0]["group_size"] == 100


def test_combine_makes_one_query_of_all_images(service, people):
    entry = result(service, people, QUERY, GREEN_QUERY, combine=True, **EVERYTHING)
    assert [image["index"] for image in entry["images"]] == [0, 1]
    mean = embeddings(service, QUERY, GREEN_QUERY).mean(axis=0)
    mean /= np.linalg.norm(mean)
    gallery = service.parts.store.open(people)
    expected = gallery.embeddings(ids(entry)) @ mean
    assert [match["score"] for match in entry["matches"]] == pytest.approx(expected, abs=1e-5)


def test_combine_reports_the_unusable_image_after_the_result(service, people):
    answer = service.search(BAD, QUERY, gallery=people, combine=True).json()
    assert [entry["status"] for entry in answer["results"]] == ["matched", "error"]
    assert [entry["images"][0]["index"] for entry in answer["results"]] == [1, 0]


def test_an_unknown_gallery_is_not_found(service):
    answer = service.search(QUERY, gallery="nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_gallery_of_another_model_is_refused(service):
    service.parts.store.create("foreign", "0" * 64, 32)
    answer = service.search(QUERY, gallery="foreign")
    assert (answer.status_code, answer.json()["code"]) == (409, "model_mismatch")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 0),
        ("top_k", 1001),
        ("top_k", "many"),
        ("min_score", 1.5),
        ("min_score", "nan"),
        ("rerank_top", 1001),
        ("group_by", "camera"),
        ("since", "yesterday"),
        ("until", "inf"),
        ("combine", "perhaps"),
        ("camera", "c" * 201),
        ("cameras", "a\x00b"),
        ("topk", 3),
    ],
)
def test_a_wrong_field_is_named(service, people, field, value):
    answer = service.search(QUERY, gallery=people, **{field: value})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["where"] == "body"
    assert error["field"].split(".")[0] == field
    assert field in answer.json()["detail"]


def test_a_picture_to_search_for_is_required(service):
    answer = service.http.post("/search", data={"top_k": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "send images or crop_ids" in answer.json()["detail"]


def test_embed_answers_unit_embeddings(service):
    rows = embeddings(service, QUERY, GREEN_QUERY)
    assert rows.shape == (2, 32)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_embed_in_base64_is_little_endian_float32(service):
    files = [("images", QUERY), ("images", BAD)]
    answer = service.http.post("/embed", files=files, data={"encoding": "base64"}).json()
    good, bad = answer["results"]
    row = np.frombuffer(base64.b64decode(good["embedding"]), dtype="<f4")
    assert np.array_equal(row, embeddings(service, QUERY)[0])
    assert answer["dimension"] == 32
    assert (bad["embedding"], bad["error"]["code"]) == (None, "invalid_image")


def test_embed_without_a_usable_image_is_refused(service):
    answer = service.http.post("/embed", files=[("images", BAD)])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_image")
