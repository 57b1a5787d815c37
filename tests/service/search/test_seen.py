"""Earlier visits of a person: by camera, and by pauses."""

from __future__ import annotations

from typing import Any

import pytest

from service.testing import solid

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
# Camera, seconds after noon, and colour of each crop.
TRACKS = {"t1": "7", "t2": "7", "t3": "8"}
CROPS = {
    "a1": ("c1", 0, (200, 20, 20)),
    "a2": ("c1", 100, (202, 20, 20)),
    "a3": ("c1", 401, (204, 20, 20)),
    "b1": ("c2", 60, (206, 20, 20)),
    "other": ("c2", 90, (20, 20, 200)),
    "t1": ("c3", 10, (200, 20, 20)),
    "t2": ("c3", 800, (201, 20, 20)),
    "t3": ("c3", 805, (202, 20, 20)),
    "now": ("c1", 900, (200, 20, 22)),
    "later": ("c1", 950, (200, 20, 20)),
}


@pytest.fixture(scope="module")
def gallery(service: Any) -> str:
    service.create("hall")
    entries = [
        {"crop_id": name, "camera": camera, "timestamp": NOON + seconds}
        | ({"track": TRACKS[name]} if name in TRACKS else {})
        for name, (camera, seconds, _) in CROPS.items()
    ]
    data = [solid(colour, kind="PNG") for _, _, colour in CROPS.values()]
    assert service.add("hall", entries, *data).status_code == 200
    return "hall"


def ask(service: Any, gallery: str, **body: Any) -> Any:
    return service.http.post(f"/galleries/{gallery}/seen", json=body)


def test_crops_that_look_the_same_are_grouped_into_visits(service, gallery):
    answer = ask(service, gallery, crop_ids=["now"]).json()
    visits = [
        (v["camera"], v["first"] - NOON, v["last"] - NOON, v["crops"]) for v in answer["visits"]
    ]
    tracks = [("c3", 805, 805, 1), ("c3", 10, 800, 2)]
    assert visits == [*tracks, ("c1", 401, 401, 1), ("c1", 0, 100, 2), ("c2", 60, 60, 1)]
    assert answer["before"] == NOON + 900
    assert [(one["camera"], one["visits"]) for one in answer["cameras"]] == [
        ("c1", 2),
        ("c2", 1),
        ("c3", 2),
    ]
    assert answer["cameras"][0]["first"] == NOON
    assert all(visit["probability"] > 0.9 for visit in answer["visits"])
    assert all(0 < visit["false_alert_rate"] <= 0.01 for visit in answer["visits"])
    assert (answer["min_score"], answer["complete"]) == (0.5, True)


def test_what_a_visit_is_and_what_counts_can_be_chosen(service, gallery):
    answer = ask(service, gallery, crop_ids=["now", "later"], gap_seconds=1000, before=NOON + 401)
    (latest, other, tracked) = answer.json()["visits"]
    assert (latest["camera"], latest["crops"], other["camera"]) == ("c1", 2, "c2")
    assert (tracked["track"], tracked["crops"]) == ("7", 1)
    assert latest["probability"] is latest["false_alert_rate"] is None  # of several crops
    everything = ask(service, gallery, crop_ids=["now"], min_score=-1.0).json()
    assert sum(visit["crops"] for visit in everything["visits"]) == 8


def test_unknown_crops_and_galleries_are_not_found(service, gallery):
    assert ask(service, gallery, crop_ids=["nobody"]).status_code == 404
    assert ask(service, "nowhere", crop_ids=["now"]).status_code == 404
    assert ask(service, gallery, crop_ids=[]).status_code == 422
