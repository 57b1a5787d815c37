"""Watches: whom they look for, where and when, and what they make of it."""

from __future__ import annotations

import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
EVENING = 1_795_284_000.0  # 2026-11-21 18:00 UTC


def test_each_kind_of_watch_finds_whom_it_looks_for(door):
    of_anna = door.watch(watch_for="identities", identities=["anna"])["watch_id"]
    of_a_crop = door.watch(watch_for="crops", crop_ids=["ben/1"])["watch_id"]
    of_everyone = door.watch(watch_for="gallery")["watch_id"]
    of_strangers = door.watch(watch_for="unknown")["watch_id"]
    of_no_ben = door.watch(watch_for="unknown", identities=["ben"])["watch_id"]
    anna, ben, stranger = (
        door.comes(colour, EVENING + 1000 * n) for n, colour in enumerate((RED, GREEN, BLUE))
    )
    assert door.seen(watch_id=of_anna) == [(anna, "anna")]
    assert door.seen(watch_id=of_a_crop) == [(ben, "ben")]
    assert door.seen(watch_id=of_everyone) == [(anna, "anna"), (ben, "ben")]
    assert door.seen(watch_id=of_strangers) == [(stranger, None)]
    assert door.seen(watch_id=of_no_ben) == [(anna, None), (stranger, None)]
    (event,) = door.events(watch_id=of_a_crop)
    assert event["score"] > 0.9
    assert (event["matched"], event["of"], event["time"]) == ("ben/1", door.known, EVENING + 1000)


def test_only_crops_added_later_are_judged_and_never_a_crop_by_itself(door):
    door.comes(RED, EVENING)
    door.watch(watch_for="gallery", of=door.name)
    assert door.seen() == []
    door.comes(BLUE, EVENING, identity="cleo")
    again = door.comes(BLUE, EVENING)
    assert door.seen() == [(again, "cleo")]


def test_a_person_is_quiet_for_a_while_on_each_camera(door):
    door.watch(watch_for="gallery", quiet_seconds=60)
    first = door.comes(RED, EVENING)
    door.comes(RED, EVENING + 59)
    elsewhere = door.comes(RED, EVENING + 59, camera="c2")
    other = door.comes(GREEN, EVENING + 59)
    later = door.comes(RED, EVENING + 60)
    door.comes(RED, EVENING - 59)  # came late
    assert [crop_id for crop_id, _ in door.seen()] == [first, elsewhere, other, later]


def test_place_and_time_are_chosen(door):
    door.watch(
        watch_for="gallery",
        cameras=["c2"],
        zone="Europe/Berlin",
        since="2026-11-21",
        daily_from="22:00",
        daily_until="06:00",
        quiet_seconds=0,
    )
    hours = {hour: EVENING + 3600 * hour for hour in (-24, 2, 3, 10, 11)}  # 19:00 there at 0
    found = {hour: door.comes(RED, time, camera="c2") for hour, time in hours.items()}
    door.comes(RED, hours[3], camera="c1")
    assert [crop_id for crop_id, _ in door.seen()] == [found[3], found[10]]


def test_how_sure_it_must_be_follows_the_calibration(door):
    by_rate = door.watch(watch_for="gallery", false_alert_rate=0.005)
    assert by_rate["threshold"] == pytest.approx(0.9415, abs=1e-3)
    assert door.watch(watch_for="gallery")["threshold"] == 0.5
    assert door.watch(watch_for="gallery", false_alert_rate=0.02)["threshold"] == 0.5
    assert door.watch(watch_for="gallery", min_score=0.7)["threshold"] == 0.7
    refused = door.try_to_watch(watch_for="gallery", false_alert_rate=1e-9)
    assert refused.status_code == 422
    assert "allow at least 0.0025" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"watch_for": "identities"}, "needs identities"),
        ({"watch_for": "gallery", "identities": ["anna"]}, "takes no identities"),
        ({"watch_for": "gallery", "daily_from": "22:00"}, "together"),
        ({"watch_for": "gallery", "daily_from": "24:00", "daily_until": "06:00"}, "daily_from"),
        ({"watch_for": "gallery", "min_score": 0.5, "false_alert_rate": 0.1}, "not both"),
        ({"watch_for": "gallery", "quiet_seconds": -1}, "quiet_seconds"),
        ({"watch_for": "everyone"}, "watch_for"),
    ],
)
def test_what_makes_no_sense_is_rejected(door, body, reason):
    answer = door.try_to_watch(**body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert reason in answer.text


def test_names_that_nobody_has_are_warned_of(door):
    answer = door.watch(watch_for="identities", identities=["anna", "zoe"], cameras=["c9"])
    warned = {(one["field"], *one["values"]) for one in answer["warnings"]}
    assert warned == {("identities", "zoe"), ("cameras", "c9")}


def test_watches_are_listed_and_deleted_and_their_events_stay(door):
    watch = door.watch(watch_for="gallery", name="Known people")
    path = f"/galleries/{door.name}/watches/{watch['watch_id']}"
    shown = door.service.http.get(path).json()
    assert shown == {name: value for name, value in watch.items() if name in shown}
    assert "secret" not in shown
    listed = door.service.http.get(f"/galleries/{door.name}/watches").json()["watches"]
    assert listed == [shown]
    door.comes(RED, EVENING)
    assert len(door.events()) == 1
    assert door.service.http.delete(path).status_code == 204
    assert door.service.http.delete(path).status_code == 404
    door.comes(GREEN, EVENING)
    assert len(door.events()) == 1
    assert not door.service.parts.alerts.arrivals.is_watched(door.name)
    door.watch(watch_for="gallery")
    door.comes(GREEN, EVENING)
    assert len(door.events()) == 2


def test_events_come_in_pages_newest_first(door):
    door.watch(watch_for="gallery", quiet_seconds=0)
    crops = [door.comes(RED, EVENING + n) for n in range(3)]
    assert [crop_id for crop_id, _ in door.seen()] == crops
    path = f"/galleries/{door.name}/events"
    page = door.service.http.get(path, params={"limit": 2}).json()
    rest = door.service.http.get(path, params={"cursor": page["cursor"]}).json()
    assert [event["crop_id"] for event in page["events"] + rest["events"]] == crops[::-1]
    assert rest["cursor"] is None
    assert door.seen(since=EVENING + 1, until=EVENING + 2) == [(crops[1], "anna")]
    assert door.seen(cameras=["c2"]) == []
    assert door.service.http.get(path, params={"cursor": "x"}).status_code == 422


def test_a_crop_that_is_sent_again_makes_no_second_event(door):
    door.watch(watch_for="gallery", quiet_seconds=0)
    entry = {"crop_id": "same", "camera": "c1", "timestamp": EVENING}
    for _ in range(2):
        door.add(door.name, entry, RED)
    assert door.seen() == [("same", "anna")]
    door.add(door.name, entry, (210, 20, 20))  # another picture
    assert len(door.events()) == 2


def test_a_key_sees_no_watch_that_compares_with_a_gallery_it_is_not_for(start, make_door):
    with start() as service:
        door = make_door(service)
        watch = door.watch(watch_for="gallery")
        door.watch(watch_for="unknown", of=door.name)
        door.comes(RED, EVENING)
        assert len(door.events()) == 2
        body = {"label": "door", "scope": "write", "galleries": [door.name]}
        keys = KeyStore(service.parts.settings.data / FILE)
        _, text = keys.create(NewKey(**body))
        service.http.headers["Authorization"] = f"Bearer {text}"
        assert door.try_to_watch(watch_for="gallery").status_code == 403
        path = f"/galleries/{door.name}/watches"
        listed = service.http.get(path).json()["watches"]
        assert [one["of"] for one in listed] == [door.name]
        assert [event["of"] for event in door.events()] == [door.name]
        for method in ("GET", "DELETE"):
            one = service.http.request(method, f"{path}/{watch['watch_id']}")
            assert one.status_code == 404


def test_a_track_makes_one_event_and_nobody_unknown_who_was_known_in_it(door):
    known = door.watch(watch_for="gallery", quiet_seconds=0)["watch_id"]
    strangers = door.watch(watch_for="unknown", quiet_seconds=0)["watch_id"]
    first = door.comes(RED, EVENING, track="7")
    for second in range(1, 4):
        door.comes(RED, EVENING + second, track="7")
    door.comes(BLUE, EVENING + 4, track="7")  # seen from behind
    other_camera = door.comes(RED, EVENING, track="7", camera="c2")
    other_track = door.comes(RED, EVENING + 5, track="8")
    stranger = door.comes(BLUE, EVENING + 6, track="9")
    door.comes(BLUE, EVENING + 7, track="9")
    seen = [crop_id for crop_id, _ in door.seen(watch_id=known)]
    assert seen == [first, other_camera, other_track]
    assert door.seen(watch_id=strangers) == [(stranger, None)]
    assert door.events(watch_id=strangers)[0]["track"] == "9"
