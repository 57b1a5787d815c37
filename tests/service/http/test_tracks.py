"""Tracks: in with crops, out with them, as a filter, as a group, and as what is searched for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from service.gallery.base import Crop
from service.search import tracks
from service.testing import solid

PICTURE = solid((9, 90, 200), kind="PNG")
EVERYTHING = {"min_score": -1, "top_k": 100, "standardise": False}

# Angles of embeddings in a plane: two walks of two people on camera c1, one on c2, and others.
WALKS = {
    "a1": Crop("a1", None, "c1", track="1"),
    "a2": Crop("a2", None, "c1", track="1"),
    "a3": Crop("a3", None, "c1", track="1"),
    "b1": Crop("b1", None, "c1", track="2"),
    "b2": Crop("b2", None, "c1", track="2"),
    "c1": Crop("c1", None, "c2", track="1"),
    "d1": Crop("d1", None, None, track="3"),
    "e1": Crop("e1", None, "c1"),
    "e2": Crop("e2", None, "c1"),
}
ANGLES = dict(zip(WALKS, (0, 2, 4, 30, 34, 10, 50, 60, 61), strict=True))


def at(degrees: float, dimension: int) -> np.ndarray:
    row = np.zeros(dimension, np.float32)
    row[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return row


@pytest.fixture(scope="module")
def walks(service: Any) -> str:
    service.create("walks")
    opened = service.parts.store.open("walks")
    rows = np.stack([at(ANGLES[name], opened.dimension) for name in WALKS])
    opened.upsert(list(WALKS.values()), rows)
    return "walks"


def search(service: Any, **fields: Any) -> Any:
    return service.search(gallery="walks", **EVERYTHING, **fields)


def found(service: Any, **fields: Any) -> list[dict[str, Any]]:
    answer = search(service, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_every_way_in_takes_a_track_and_every_record_shows_it(service):
    name, url = service.create("ways"), "/galleries/ways/crops"
    sent = {"camera": "c1", "track": " 7 "}
    put = service.put(name, "put", PICTURE, **sent)
    assert (put.status_code, put.json()["track"]) == (201, "7")
    assert service.add(name, [{"crop_id": "batch", **sent}], PICTURE).status_code == 200
    vector = [1.0] + [0.0] * (service.parts.store.open(name).dimension - 1)
    service.http.put(f"{url}/vector", json={"embedding": vector, **sent}).raise_for_status()
    several = {"crops": [{"crop_id": "vectors", "embedding": vector, **sent}]}
    service.http.post(url, json=several).raise_for_status()
    rows = 'crop_id,camera,track,embedding\nrow,c1,7.0,"' + json.dumps(vector) + '"\n'
    imported = service.http.post(
        f"/galleries/{name}/imports", content=rows, headers={"Content-Type": "text/csv"}
    )
    assert service.ended(imported)["counts"]["created"] == 1
    listed = service.http.get(url, params={"tracks": "7"}).json()["crops"]
    ids = ["batch", "put", "row", "vector", "vectors"]
    assert [(crop["crop_id"], crop["track"]) for crop in listed] == [(one, "7") for one in ids]
    assert service.http.get(f"{url}/put").json()["track"] == "7"
    (entry,) = service.search(("q.png", PICTURE), gallery=name, **EVERYTHING).json()["results"]
    assert {match["track"] for match in entry["matches"]} == {"7"}
    bad = service.put(name, "bad", PICTURE, track="x" * 201)
    assert (bad.status_code, "track" in bad.text) == (422, True)


def test_a_track_is_erased_as_a_whole(service):
    name = service.create("erased")
    crops = [(f"{camera}/{n}", camera) for camera in ("c1", "c2") for n in range(2)]
    entries = [{"crop_id": one, "camera": camera, "track": "1"} for one, camera in crops]
    service.add(name, entries, *[PICTURE] * 4)
    url, one = f"/galleries/{name}/crops/delete", {"tracks": ["1"], "cameras": ["c1"]}
    assert service.http.post(url, json=one | {"dry_run": True}).json()["deleted"] == 2
    assert service.http.post(url, json=one).json()["deleted"] == 2
    assert service.crop_ids(name) == ["c2/0", "c2/1"]


def test_grouped_by_track_a_crop_without_one_stands_alone(service, walks):
    (entry,) = found(service, crop_ids="e1", group_by="track")
    matches = [(match["crop_id"], match["group_size"]) for match in entry["matches"]]
    assert matches == [("e2", 1), ("d1", 1), ("b2", 2), ("c1", 1), ("a3", 3)]
    assert {match["identity_score"] for match in entry["matches"]} == {None}
    (two,) = found(service, crop_ids="e1", group_by="track", not_camera="c9", rerank=True)
    assert {match["crop_id"] for match in two["matches"]} == {"e2", "d1", "b2", "c1", "a3"}


def test_the_answer_is_filled_even_if_one_track_fills_the_first_ranks(service):
    service.create("long")
    opened = service.parts.store.open("long")
    crops = [Crop(f"{n:03}", camera="c1", track="1" if n < 60 else str(n)) for n in range(64)]
    rows = np.stack([at(n, opened.dimension) for n in range(64)])
    opened.upsert(crops, rows)
    asked = {"gallery": "long", "crop_ids": "000", "min_score": -1, "standardise": False}
    (entry,) = service.search(top_k=3, group_by="track", **asked).json()["results"]
    assert [match["crop_id"] for match in entry["matches"]] == ["001", "060", "061"]


def test_all_crops_of_a_track_make_one_query_and_are_left_out_of_its_result(service, walks):
    first, second = found(service, query_tracks=["1", "2"], camera="c1")
    assert (first["track"], first["crop_ids"]) == ("1", ["a1", "a2", "a3"])
    assert (second["track"], second["crop_ids"]) == ("2", ["b1", "b2"])
    assert first["considered"] == len(WALKS) - 3
    near = first["matches"][0]
    assert (near["crop_id"], near["probability"]) == ("c1", None)
    assert near["score"] == pytest.approx(np.cos(np.radians(8)), abs=1e-6)
    assert second["matches"][0]["crop_id"] == "d1"
    (elsewhere,) = found(service, query_tracks="2", exclude_same_camera=True, camera="c1")
    assert [match["crop_id"] for match in elsewhere["matches"]] == ["d1", "c1"]


def test_a_track_joins_other_pictures_of_a_combined_query(service, walks):
    (entry,) = found(service, query_tracks="3", crop_ids="e1", combine=True)
    assert sorted(entry["crop_ids"]) == ["d1", "e1"]
    assert entry["matches"][0]["crop_id"] == "e2"


def test_a_track_that_cannot_be_searched_for_says_why(service, walks, monkeypatch):
    good, missing, two = found(service, query_tracks=["3", "9", "1"])
    assert good["status"] == "matched"
    assert (missing["status"], missing["track"]) == ("error", "9")
    assert missing["error"]["detail"] == "gallery 'walks' has no track '9'"
    assert "2 cameras have a track of this name ('c1', 'c2')" in two["error"]["detail"]
    answer = search(service, query_tracks="9", camera="c1")
    assert (answer.status_code, "no track '9' of camera 'c1'" in answer.text) == (404, True)
    nowhere = search(service, query_tracks="3", exclude_same_camera=True)
    assert "track '3' has no camera: exclude_same_camera needs camera" in nowhere.json()["detail"]
    monkeypatch.setattr(tracks, "MAX_TRACK_CROPS", 2)
    long = search(service, query_tracks="1", camera="c1").json()["detail"]
    assert long.startswith("track '1' has 3 crops: at most 2 can make one query")


def test_a_track_is_a_query_of_vectors_bodies_too(service, walks):
    body = {"gallery": walks, "query_tracks": ["2"], "camera": "c1", **EVERYTHING}
    (entry,) = service.http.post("/search", json=body).json()["results"]
    assert entry["track"] == "2"
