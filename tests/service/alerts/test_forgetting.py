"""Watches and events name nobody who was erased, neither over HTTP nor in their file."""

from __future__ import annotations

RED, GREEN = (200, 20, 20), (20, 200, 20)
EVENING = 1_795_284_000.0


def test_nothing_names_an_erased_person(door):
    data = door.service.parts.settings.data
    of_both = door.watch(watch_for="identities", identities=["anna", "ben"], name="Anna or Ben")
    of_anna = door.watch(watch_for="identities", identities=["anna"])
    crops = [door.comes(RED, EVENING), door.comes(GREEN, EVENING)]
    assert len(door.events()) == 3
    path = f"/galleries/{door.known}/crops/delete"
    assert door.service.http.post(path, json={"identities": ["anna"]}).json()["deleted"] == 1
    assert door.seen() == [(crops[1], "ben")]
    (left,) = door.service.http.get(f"/galleries/{door.name}/watches").json()["watches"]
    assert (left["watch_id"], left["identities"]) == (of_both["watch_id"], ["ben"])
    assert left["name"] is None
    assert of_anna["watch_id"] != left["watch_id"]
    assert b"anna" not in (data / "alerts.sqlite3").read_bytes()
    assert b"anna" not in (data / "alerts.sqlite3-wal").read_bytes()


def test_an_event_goes_with_its_crop_and_with_the_crop_that_it_matched(door):
    door.watch(watch_for="gallery", quiet_seconds=0, name="Savannah, everyone")
    gone, ben = door.comes(RED, EVENING), door.comes(GREEN, EVENING + 1)
    door.comes(RED, EVENING + 2)
    assert len(door.events()) == 3
    for gallery, crop_id in ((door.name, gone), (door.known, "anna/1")):
        path = f"/galleries/{gallery}/crops/{crop_id}"
        assert door.service.http.delete(path).status_code == 200
    assert door.seen() == [(ben, "ben")]
    (watch,) = door.service.http.get(f"/galleries/{door.name}/watches").json()["watches"]
    assert watch["name"] == "Savannah, everyone"  # holds no name that was erased


def test_watches_and_events_go_with_either_gallery(door):
    door.watch(watch_for="gallery")
    door.comes(RED, EVENING)
    assert len(door.events()) == 1
    door.service.http.delete(f"/galleries/{door.name}")
    assert door.name not in door.service.parts.alerts.galleries()
    door.service.create(door.name)
    door.watch(watch_for="gallery")
    door.comes(RED, EVENING)
    assert len(door.events()) == 1
    door.service.http.delete(f"/galleries/{door.known}")
    assert door.events() == []
    assert door.service.http.get(f"/galleries/{door.name}/watches").json() == {"watches": []}


def test_old_events_are_erased(door):
    door.watch(watch_for="gallery")
    door.comes(RED, EVENING)
    assert len(door.events()) == 1
    alerts = door.service.parts.alerts
    alerts.tidy()
    assert len(door.events()) == 1
    with alerts.table.writing() as connection:
        connection.execute("UPDATE events SET created = created - 31 * 86400")
    alerts.tidy()
    assert door.events() == []
