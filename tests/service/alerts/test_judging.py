"""No event is lost or doubled, whatever happens between a crop and its event."""

from __future__ import annotations

import pytest

from service.alerts.event import Sighting
from service.alerts.judge import Arrived, Judge
from service.alerts.watch import Watch
from service.errors import Unavailable
from service.ingest.arrivals import Arrivals
from service.testing import solid

RED = (200, 20, 20)
EVENING = 1_795_284_000.0


def test_times_of_a_gallery_rise_even_if_the_clock_is_set_back():
    times = iter([100.0, 50.0, 50.0, 200.0])
    arrivals = Arrivals(lambda: next(times))
    given = [arrivals.next_time("lobby") for _ in range(4)]
    assert given == sorted(set(given))
    assert (given[0], given[-1]) == (100.0, 200.0)
    arrivals = Arrivals(lambda: 10.0)  # after a restart, with what was judged
    arrivals.watch("lobby", 200.0)
    assert arrivals.next_time("lobby") > 200.0


def test_what_arrived_before_a_crash_is_judged_once_by_the_next_start(start, make_door):
    with start() as service:
        door = make_door(service)
        door.watch(watch_for="gallery", quiet_seconds=0)
        judged = door.comes(RED, EVENING)
        assert door.seen() == [(judged, "anna")]
        service.parts.alerts.judging.close()  # as if the process had ended by now
        many = [{"crop_id": f"late-{n}", "camera": "c2", "timestamp": EVENING + n} for n in (0, 1)]
        service.add(door.name, many, *[solid(RED, kind="PNG")] * 2)
        assert len(service.http.get(f"/galleries/{door.name}/events").json()["events"]) == 1
    for _ in range(2):
        with start() as service:
            door.service = service
            assert [crop_id for crop_id, _ in door.seen()] == [judged, "late-0", "late-1"]


def test_so_many_arrivals_that_they_are_looked_up_again(service, make_door, monkeypatch):
    monkeypatch.setattr("service.ingest.arrivals._MOST_WAITING", 1)
    door = make_door(service)
    door.watch(watch_for="gallery", quiet_seconds=0)
    opened = service.parts.store.open(door.name)
    added = []
    with opened.changing():  # so that nothing is judged meanwhile
        arrivals = service.parts.alerts.arrivals
        rows = service.parts.store.open(door.known).embeddings(["anna/1"])
        crop = service.parts.store.open(door.known).get("anna/1")
        for number in range(4):
            now = arrivals.next_time(door.name)
            one = type(crop)(f"many-{number}", None, "c1", EVENING, crop.digest, added=now)
            opened.upsert([one], rows)
            arrivals.note(door.name, now, [one.crop_id])
            added.append(one.crop_id)
        assert arrivals.is_lost(door.name)
    assert sorted(crop_id for crop_id, _ in door.seen()) == added


def test_a_watch_that_cannot_judge_says_why_and_the_others_go_on(service, models, make_door):
    door = make_door(service)
    first = door.watch(watch_for="identities", identities=["anna"])
    stray = door.watch(watch_for="gallery", of=door.name)
    table = service.parts.alerts.table
    with table.writing() as connection:  # as if that gallery had been restored with another model
        connection.execute(
            "UPDATE watches SET wanted = replace(wanted, ?, ?) WHERE watch_id = ?",
            (f'"of": "{door.name}"', '"of": "nowhere"', stray["watch_id"]),
        )
    crop = door.comes(RED, EVENING)
    assert door.seen() == [(crop, "anna")]
    shown = {watch.watch_id: watch.problem for watch in table.watches(door.name)}
    assert shown[first["watch_id"]] is None
    assert "nowhere" in shown[stray["watch_id"]]


@pytest.mark.parametrize("kind", ["embeddings", "import"])
def test_crops_of_every_way_in_are_judged(service, make_door, kind):
    door = make_door(service)
    door.watch(watch_for="gallery")
    row = service.parts.store.open(door.known).embeddings(["anna/1"])[0].tolist()
    entry = {"crop_id": "sent", "camera": "c1", "embedding": row}
    if kind == "embeddings":
        path = f"/galleries/{door.name}/crops"
        answer = service.http.post(path, json={"crops": [entry]})
        assert answer.status_code == 200, answer.text
    else:
        line = (str(entry).replace("'", '"') + "\n").encode()
        answer = service.http.post(
            f"/galleries/{door.name}/imports",
            content=line,
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert service.ended(answer)["state"] == "done"
    assert door.seen() == [("sent", "anna")]


def test_who_only_joined_an_identity_is_compared_with_nobody(service, make_door):
    door = make_door(service)
    door.watch(watch_for="gallery")
    store = service.parts.store
    with store.changing(door.known) as known:
        known.relabel(dict.fromkeys(("anna/1", "ben/1"), "carl"), "join")
    door.comes(RED, EVENING)
    assert door.seen() == []
    with store.changing(door.known) as known:
        known.relabel({"anna/1": "anna"}, "hand")
    crop = door.comes(RED, EVENING + 1)
    assert door.seen() == [(crop, "anna")]


def test_a_gallery_that_cannot_be_judged_waits_and_holds_up_no_other(
    service, make_door, monkeypatch
):
    monkeypatch.setattr("service.alerts.judging._RETRY_SECONDS", 0.01)
    broken, sound = make_door(service), make_door(service)
    for door in (broken, sound):
        door.watch(watch_for="gallery", quiet_seconds=0)
    judge, judged = Judge.sightings, []

    def failing(self: Judge, watch: Watch, arrived: Arrived) -> list[Sighting]:
        judged.append(watch.order.gallery)
        if watch.order.gallery == broken.name and judged.count(broken.name) < 3:
            raise Unavailable("as a disk may be")
        return judge(self, watch, arrived)

    monkeypatch.setattr(Judge, "sightings", failing)
    late, early = broken.comes(RED, EVENING), sound.comes(RED, EVENING)
    assert sound.seen() == [(early, "anna")]
    assert broken.seen() == [(late, "anna")]
    assert judged.count(broken.name) == 3
