"""A merge of two people who are looked for, paused at each of its locks, and a change meanwhile.

Whatever the pause, the watch ends with the names that the gallery ends with, and so do its events.
"""

from __future__ import annotations

import pytest
from pauses.world import GALLERY
from waiting import wait_until

from service.gallery.base import Filter

PATH = f"/galleries/{GALLERY}"
WATCH = {"watch_for": "identities", "identities": ["p", "q"], "quiet_seconds": 0}


@pytest.fixture
def watched(pair, monkeypatch):
    """A world that every reset leaves with one new watch, and without events."""
    world = pair.world
    reset = world.reset

    def begin():
        world.parts.alerts.forget_gallery(GALLERY)
        reset()
        assert world.http.post(f"{PATH}/watches", json=WATCH).is_success

    monkeypatch.setattr(world, "reset", begin)
    yield world
    world.parts.alerts.forget_gallery(GALLERY)


@pytest.mark.parametrize(("second", "least"), [("upsert", 1), ("delete_by_filter", 0)])
def test_names_agree_with_the_gallery_after_any_pause(pair, watched, second, least):
    for place in pair.places("merge"):
        done = pair.paused("merge", second, place)
        wait_until(lambda: not watched.parts.alerts.arrivals.galleries())
        crops = watched.parts.store.open(GALLERY).crops(Filter(has_identity=True))
        (watch,) = watched.http.get(f"{PATH}/watches").json()["watches"]
        events = watched.http.get(f"{PATH}/events").json()["events"]
        told = f"merge paused at {place}: {done}, {watch}, {events}"
        assert watch["identities"] == sorted({crop.identity for crop in crops}), told
        assert watch["problem"] is None, told
        assert len(events) >= least, told
        assert {event["identity"] for event in events} <= {*watch["identities"]}, told
