"""Who joins whom: what joined attracts nobody, a track is one person, and nobody is in two places.

Embeddings lie in a plane, at angles in degrees. The model's threshold is a cosine of 0.5 (60
degrees), and an identity must lead by a cosine of 0.116.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from service.gallery.base import Crop, Filter
from service.ingest import claims
from service.testing import TINY_MANIFEST, encode

NOON = 1_795_262_400.0


def at(degrees: float) -> np.ndarray:
    row = np.zeros(TINY_MANIFEST.dimension, np.float32)
    row[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return row


def joining(service: Any, name: str) -> str:
    answer = service.http.post("/galleries", json={"name": name, "join": True})
    assert answer.status_code == 201, answer.text
    return name


@pytest.fixture
def gallery(service: Any, request: Any) -> Any:
    """A gallery that joins, with Ada at 0 degrees and Bob at 180."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    joining(service, name)
    opened = service.parts.store.open(name)
    opened.upsert([Crop("ada", "ada", "c1"), Crop("bob", "bob")], np.stack([at(0), at(180)]))
    return opened


def send(service: Any, gallery: Any, *crops: dict[str, Any]) -> list[tuple[str | None, str]]:
    """Send crops as embeddings at angles; the identity of each one, and where it comes from."""
    sent = [{**crop, "embedding": at(crop["at"]).tolist()} for crop in crops]
    for crop in sent:
        del crop["at"]
    answer = service.http.post(f"/galleries/{gallery.name}/crops", json={"crops": sent})
    assert answer.status_code == 200, answer.text
    return [(entry["identity"], entry["origin"]) for entry in answer.json()["results"]]


def walk(track: str, *angles: float, start: float = 0.0, **more: Any) -> list[dict[str, Any]]:
    """The crops of a track on camera c1, one per second from ``start`` on."""
    return [
        {"crop_id": f"{track}/{start + n:g}", "at": angle, "camera": "c1", "track": track}
        | {"timestamp": NOON + start + n}
        | more
        for n, angle in enumerate(angles)
    ]


def test_strangers_do_not_draw_each_other_in(service, gallery):
    angles = (50, 65, 80, 95, 110)  # each is near the one before it
    who = [send(service, gallery, {"crop_id": f"s{one}", "at": one})[0] for one in angles]
    assert who == [("ada", "join")] + [(None, "given")] * 4
    assert gallery.get("s50").origin == "join"
    gallery.relabel({"s50": "ada"}, "hand")  # somebody looked, and it is Ada
    assert send(service, gallery, {"crop_id": "again", "at": 80}) == [("ada", "join")]


def test_a_track_is_judged_as_a_whole(service, gallery):
    mixed = walk("1", 20, 40, 70)  # the last crop alone would join nobody
    assert send(service, gallery, *mixed) == [("ada", "join")] * 3
    far = walk("2", 55, 80, 85, start=10)  # the first crop alone would join Ada
    assert send(service, gallery, *far) == [(None, "given")] * 3


def test_later_crops_of_a_track_take_its_identity_and_earlier_ones_follow(service, gallery):
    first, second, third = walk("1", 70, 30, 89)
    assert send(service, gallery, first) == [(None, "given")]
    assert send(service, gallery, second) == [("ada", "join")]  # the mean of both is near enough
    assert gallery.get(first["crop_id"]).identity == "ada"
    assert send(service, gallery, third) == [("ada", "join")]
    gallery.relabel({first["crop_id"]: "eve"}, "hand")
    assert send(service, gallery, *walk("1", 5, start=3)) == [("eve", "join")]


def test_a_track_is_judged_again_when_its_crops_have_doubled(service, gallery):
    assert send(service, gallery, *walk("1", 65, 65, 65, 65)) == [(None, "given")] * 4
    assert send(service, gallery, *walk("1", 0, start=4)) == [(None, "given")]
    assert send(service, gallery, *walk("1", 0, 0, 0, start=5)) == [("ada", "join")] * 3
    assert {crop.identity for crop in gallery.crops(Filter(cameras=frozenset({"c1"})))} == {"ada"}


def test_a_track_that_shows_nobody_known_stays_nobody(service, gallery):
    gallery.upsert([Crop("1/0", None, "c1", NOON, track="1", origin="hand")], at(0)[None])
    assert send(service, gallery, *walk("1", 0, start=1)) == [(None, "given")]


def test_a_name_that_is_sent_with_one_crop_names_its_track(service, gallery):
    crops = walk("1", 0, 1)
    crops[0]["identity"] = "carl"
    assert send(service, gallery, *crops) == [("carl", "given"), ("carl", "join")]


def test_equal_numbers_of_two_cameras_are_two_tracks(service, gallery):
    assert send(service, gallery, *walk("1", 0)) == [("ada", "join")]
    elsewhere = walk("1", 90, start=9, camera="c2")
    assert send(service, gallery, *elsewhere) == [(None, "given")]


@pytest.mark.parametrize("most", [0, 10_000], ids=["many", "few"])
def test_nobody_joins_a_person_who_walks_elsewhere_at_that_time(
    service, gallery, monkeypatch, most
):
    monkeypatch.setattr(claims, "_MOST_LOOKED_AT", most)  # Ada's crops by this camera are more
    ada = walk("1", 0, 0, 0, identity="ada")
    send(service, gallery, *ada)
    assert send(service, gallery, *walk("2", 10, 10, start=1)) == [(None, "given")] * 2
    assert send(service, gallery, *walk("3", 10, 10, start=9)) == [("ada", "join")] * 2
    other = walk("4", 10, 10, start=1, camera="c2")  # clocks of two cameras may differ
    assert send(service, gallery, *other) == [("ada", "join")] * 2


def test_of_two_tracks_at_one_time_the_nearer_one_joins(service, gallery):
    crops = [*walk("1", 30, 30), *walk("2", 10, 10)]
    assert send(service, gallery, *crops) == [(None, "given")] * 2 + [("ada", "join")] * 2


def test_of_two_persons_on_a_frame_the_better_one_joins(service):
    name = joining(service, "frame-joining")
    frame = np.full((90, 160, 3), 30, np.uint8)
    frame[5:85, 10:40] = (200, 20, 20)
    frame[5:85, 100:130] = (200, 20, 60)
    red = encode(np.full((80, 30, 3), (200, 20, 20), np.uint8))
    service.put(name, "red", red, identity="red")
    boxes = [{"x": x, "y": 5, "width": 30, "height": 80} for x in (100, 10)]
    files = [("images", ("f.png", encode(frame)))]
    url, data = f"/galleries/{name}/frames", {"boxes": json.dumps([boxes])}
    for _ in range(2):  # sent again, it stays as it is
        (entry,) = service.http.post(url, files=files, data=data).json()["results"]
        assert [one["identity"] for one in entry["persons"]] == [None, "red"]
    for box in boxes:  # each alone is near enough
        data = {"boxes": json.dumps([[box]]), "frames": json.dumps([{"frame_id": str(box["x"])}])}
        (entry,) = service.http.post(url, files=files, data=data).json()["results"]
        assert [one["identity"] for one in entry["persons"]] == ["red"]


def test_a_clustering_confirms_who_joined(service, gallery):
    assert send(service, gallery, {"crop_id": "near", "at": 5}) == [("ada", "join")]
    job = service.http.post(f"/galleries/{gallery.name}/cluster", json={"standardise": False})
    assert service.ended(job)["state"] == "done"
    assert (gallery.get("near").identity, gallery.get("near").origin) == ("ada", "cluster")
