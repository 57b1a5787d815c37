"""Watches and events follow people whose names change, and say so if they cannot."""

from __future__ import annotations

import importlib.util

import pytest

from service.alerts.judge import Judge
from service.testing import solid

RED, GREEN = (200, 20, 20), (20, 200, 20)
EVENING = 1_795_284_000.0


@pytest.fixture(autouse=True)
def _alone(door):
    """Leave no names to the next test, which looks for its own in the same file."""
    yield
    for gallery in (door.known, door.name):
        assert door.service.http.delete(f"/galleries/{gallery}").is_success


def correct(door, what, **body):
    answer = door.service.http.post(f"/galleries/{door.known}/identities/{what}", json=body)
    assert answer.status_code == 200, answer.text


def erase(door, **body):
    answer = door.service.http.post(f"/galleries/{door.known}/crops/delete", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["deleted"]


def watches(door):
    return door.service.http.get(f"/galleries/{door.name}/watches").json()["watches"]


def looked_for(door):
    return [(watch["identities"], watch["problem"]) for watch in watches(door)]


def stored(door):
    data = door.service.parts.settings.data
    names = ("alerts.sqlite3", "alerts.sqlite3-wal")
    return b"".join((data / name).read_bytes() for name in names).lower()


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("merge", {"identities": ["anna"], "into": "a.smith"}),
        ("label", {"crop_ids": ["anna/1"], "identity": "a.smith"}),
        ("split", {"crop_ids": ["anna/1"], "into": "a.smith"}),
    ],
)
def test_a_new_name_is_followed(door, what, body):
    watch = {"watch_for": "identities", "quiet_seconds": 60}
    door.watch(**watch, identities=["zoe", "anna", "ben"])
    door.watch(**watch, identities=["anna"])
    first = door.comes(RED, EVENING)
    assert door.seen() == [(first, "anna")] * 2
    correct(door, what, **body)
    missing = f"no crop of gallery {door.known!r} shows 'zoe'"
    assert looked_for(door) == [(["zoe", "a.smith", "ben"], missing), (["a.smith"], None)]
    assert door.seen() == [(first, "a.smith")] * 2
    door.comes(RED, EVENING + 59)  # the same person, still quiet
    later = door.comes(RED, EVENING + 60)
    assert door.seen() == [(first, "a.smith")] * 2 + [(later, "a.smith")] * 2
    assert erase(door, identities=["a.smith"]) == 1
    assert looked_for(door) == [(["zoe", "ben"], missing)]
    assert door.events() == []
    assert not any(name in stored(door) for name in (b"anna", b"smith"))


def test_a_merge_leaves_each_name_once_and_in_its_place(door):
    door.watch(watch_for="identities", identities=["anna", "ben"])
    correct(door, "merge", identities=["anna", "ben"], into="ben")
    assert looked_for(door) == [(["ben"], None)]


def test_a_name_that_nobody_has_any_more_is_a_problem_until_it_is_back(door):
    door.watch(watch_for="identities", identities=["anna", "ben"])
    correct(door, "label", crop_ids=["anna/1"], identity=None)
    missing = f"no crop of gallery {door.known!r} shows 'anna'"
    assert looked_for(door) == [(["anna", "ben"], missing)]
    crop = door.comes(GREEN, EVENING)
    assert door.seen() == [(crop, "ben")]  # the others are still looked for
    assert looked_for(door) == [(["anna", "ben"], missing)]
    correct(door, "label", crop_ids=["anna/1"], identity="anna")
    assert looked_for(door) == [(["anna", "ben"], None)]
    correct(door, "label", crop_ids=["anna/1"], identity=None)
    correct(door, "label", crop_ids=["anna/1"], identity="a.smith")
    assert looked_for(door) == [(["a.smith", "ben"], None)]


def test_who_was_split_apart_is_followed_to_none_and_forgotten_with_the_last_crop(door):
    door.add(door.known, {"crop_id": "anna/2", "identity": "anna"}, (200, 20, 60))
    door.watch(watch_for="identities", identities=["anna"], name="Anna, who left", quiet_seconds=0)
    crop = door.comes(RED, EVENING)
    (event,) = door.events()
    assert event["matched"] == "anna/1"
    entries = [{"crop_id": f"anna/{n}", "identity": name} for n, name in ((1, "agnes"), (2, "bea"))]
    pictures = (solid(colour, kind="PNG") for colour in (RED, (200, 20, 60)))
    assert door.service.add(door.known, entries, *pictures).is_success
    door.service.parts.alerts.tidy()
    assert looked_for(door) == [(["anna"], f"no crop of gallery {door.known!r} shows 'anna'")]
    assert door.seen() == [(crop, "anna")]
    erase(door, identities=["agnes"])
    assert len(watches(door)) == 1
    erase(door, identities=["bea"])
    assert watches(door) == []
    assert b"anna" not in stored(door)


def test_an_event_says_who_is_on_the_crop_that_it_matched(door):
    door.add(door.known, {"crop_id": "anna/2", "identity": "anna"}, (200, 20, 60))
    door.watch(watch_for="gallery", quiet_seconds=0)
    crop = door.comes(RED, EVENING)
    assert door.seen() == [(crop, "anna")]
    correct(door, "label", crop_ids=["anna/1"], identity="agnes")
    assert door.seen() == [(crop, "agnes")]


def test_the_name_of_a_watch_forgets_every_name_of_a_person(door):
    door.watch(watch_for="gallery", name="Anna or Ben")
    correct(door, "merge", identities=["anna"], into="smith")
    correct(door, "merge", identities=["smith"], into="jones")
    assert [watch["name"] for watch in watches(door)] == ["Anna or Ben"]
    erase(door, identities=["jones"])
    assert [watch["name"] for watch in watches(door)] == [None]
    assert b"anna" not in stored(door)


def test_a_name_that_no_crop_has_can_be_erased(door):
    door.watch(watch_for="identities", identities=["zoe"], name="zoe")
    assert erase(door, identities=["zoe"]) == 0
    assert watches(door) == []
    assert b"zoe" not in stored(door)


def test_nothing_is_left_of_people_whose_gallery_is_emptied(door):
    door.watch(watch_for="identities", identities=["anna", "ben"], name="Anna or Ben")
    assert erase(door, identities=["anna", "ben"]) == 2
    assert watches(door) == []
    assert not any(name in stored(door) for name in (b"anna", b"ben"))


def test_a_crop_that_is_sent_again_under_another_name_is_followed(door):
    door.watch(watch_for="identities", identities=["anna"])
    door.add(door.known, {"crop_id": "anna/1", "identity": "a.smith"}, RED)
    crop = door.comes(RED, EVENING)
    assert door.seen() == [(crop, "a.smith")]
    assert looked_for(door) == [(["a.smith"], None)]
    door.add(door.known, {"crop_id": "anna/1", "identity": "ben"}, GREEN)  # another person
    door.comes(GREEN, EVENING)
    assert door.seen() == [(crop, "a.smith")]
    ((names, problem),) = looked_for(door)
    assert names == ["a.smith"]
    assert problem


def test_a_restored_snapshot_is_followed(door):
    path = f"/galleries/{door.known}/snapshots"
    snapshot = door.service.http.post(path).json()["snapshot_id"]
    door.watch(watch_for="identities", identities=["anna"])
    correct(door, "merge", identities=["anna"], into="a.smith")
    answer = door.service.http.post(f"{path}/{snapshot}/restore", json={})
    assert answer.status_code == 200
    assert looked_for(door) == [(["anna"], None)]


def test_a_clustering_that_renames_is_followed(door):
    gallery = door.service.create(f"{door.known}-grouped")
    for n in range(5):
        entry = {"crop_id": f"p/{n}", "camera": "c1"}
        assert door.service.add(gallery, [entry], solid((20, 20, 200 + n), kind="PNG")).is_success
    path = f"/galleries/{gallery}/cluster"
    rule = {"standardise": False, "eps": 0.9}
    door.service.ended(door.service.http.post(path, json=rule))
    door.watch(watch_for="identities", of=gallery, identities=["person-0001"])
    entry = {"crop_id": "p/0", "identity": "cleo"}
    label = {"crop_ids": ["p/0"], "identity": "cleo"}
    answer = door.service.http.post(f"/galleries/{gallery}/identities/label", json=label)
    assert answer.is_success
    assert looked_for(door) == [(["person-0001"], None)]
    door.service.ended(door.service.http.post(path, json=rule))  # the others take her name
    assert looked_for(door) == [(["cleo"], None)]


def test_a_rename_right_before_a_crash_is_followed_by_the_next_start(start, make_door):
    with start() as service:
        door = make_door(service)
        door.watch(watch_for="identities", identities=["anna"])
        crop = door.comes(RED, EVENING)
        assert door.seen() == [(crop, "anna")]
        with service.parts.store.changing(door.known) as known:  # stored, and then nothing more
            known.relabel({"anna/1": "a.smith"}, "hand")
    with start() as service:
        door.service = service
        assert looked_for(door) == [(["a.smith"], None)]
        assert door.seen() == [(crop, "a.smith")]


def test_a_rename_between_a_look_and_its_event_is_in_the_event(door, monkeypatch):
    door.watch(watch_for="identities", identities=["anna"])
    judge = Judge.sightings

    def slow(self, watch, arrived):
        found = judge(self, watch, arrived)
        if [one.identity for one in found] == ["anna"]:
            correct(door, "merge", identities=["anna"], into="a.smith")
        return found

    monkeypatch.setattr(Judge, "sightings", slow)
    crop = door.comes(RED, EVENING)
    assert door.seen() == [(crop, "a.smith")]


@pytest.mark.slow
def test_names_in_milvus_are_followed(start, make_door, tmp_path):
    for package in ("pymilvus", "milvus_lite"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    with start(milvus_uri=str(tmp_path / "milvus.db")) as service:  # and no data folder yet
        door = make_door(service)
        door.watch(watch_for="identities", identities=["anna", "ben"])
        crop = door.comes(RED, EVENING)
        assert door.seen() == [(crop, "anna")]
        correct(door, "merge", identities=["anna"], into="a.smith")
        assert looked_for(door) == [(["a.smith", "ben"], None)]
        assert door.seen() == [(crop, "a.smith")]
        assert erase(door, identities=["a.smith"]) == 1
        assert looked_for(door) == [(["ben"], None)]
        assert not any(name in stored(door) for name in (b"anna", b"smith"))
