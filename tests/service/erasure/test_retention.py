"""A gallery with ``keep_for`` erases expired crops by itself."""

from __future__ import annotations

import time

import pytest
from waiting import wait_until

from service.erasure.retention import Retention
from service.errors import Unavailable
from service.testing import solid

HOUR = 3600.0


def test_expired_crops_are_erased_and_others_stay(start):
    with start(retention_seconds=0.05) as service:
        body = {"name": "week", "keep_for": HOUR}
        assert service.http.post("/galleries", json=body).status_code == 201
        service.put("week", "old", solid((9, 9, 9)), timestamp=time.time() - 2 * HOUR)
        service.put("week", "new", solid((9, 9, 9)), timestamp=time.time())
        service.put("week", "untimed", solid((9, 9, 9)))
        service.put("default", "old", solid((9, 9, 9)), timestamp=time.time() - 2 * HOUR)
        wait_until(lambda: len(service.crop_ids("week")) <= 2)
        assert service.crop_ids("week") == ["new", "untimed"]
        assert service.crop_ids("default") == ["old"]
        record = service.http.get("/galleries/week").json()
        assert record["keep_for"] == HOUR
        assert record["oldest"] > time.time() - HOUR


def test_an_untimed_crop_ages_from_the_moment_it_was_stored(start):
    with start() as service:
        service.http.post("/galleries", json={"name": "week", "keep_for": HOUR})
        service.put("week", "untimed", solid((9, 9, 9)))
        retention = Retention(service.parts.store, print)
        assert retention.erase_expired(time.time() + HOUR - 60) == {"week": 0}
        assert retention.erase_expired(time.time() + HOUR + 60) == {"week": 1}


def test_a_shorter_time_takes_effect_at_once(start):
    with start(retention_seconds=0.05) as service:
        service.create("week")
        service.put("week", "old", solid((9, 9, 9)), timestamp=time.time() - 2 * HOUR)
        changes = {"keep_for": HOUR, "confirm": 1}
        assert service.http.patch("/galleries/week", json=changes).status_code == 200
        wait_until(lambda: not service.crop_ids("week"))


def test_one_failing_gallery_does_not_affect_the_others(start, caplog):
    class Failing:
        def __init__(self, store):
            self._store = store

        def stats(self):
            return self._store.stats()

        def open(self, name):
            if name == "broken":
                raise Unavailable("its file cannot be read")
            return self._store.open(name)

    with start() as service:
        for name in ("broken", "sound"):
            service.http.post("/galleries", json={"name": name, "keep_for": HOUR})
            service.put(name, "old", solid((9, 9, 9)), timestamp=1_000_000_000)
        assert Retention(Failing(service.parts.store), print).erase_expired(time.time()) == {
            "sound": 1
        }
        assert "'broken': expired crops could not be erased" in caplog.text


@pytest.mark.parametrize("keep_for", [0, -1, "soon"])
def test_an_invalid_keep_for_is_refused(service, keep_for):
    answer = service.http.post("/galleries", json={"name": "senseless", "keep_for": keep_for})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
