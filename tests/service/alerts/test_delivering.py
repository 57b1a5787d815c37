"""Events reach the address of their watch, at least once, and no other address."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import always_set, wait_until

sys.path.insert(0, str(Path(__file__).parent))  # the module ``receiver``

from receiver import SLOW, Receiver, receiving, signature_of

from service.alerts.delivering import pause_after
from service.testing import solid

RED = (200, 20, 20)
EVENING = 1_795_284_000.0


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    monkeypatch.setattr("service.alerts.delivering._FIRST_PAUSE", 0.001)
    server.got.clear()
    server.answers.clear()
    server.location = None
    return server


@pytest.fixture(scope="module")
def service(launch: Any, server: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Any:
    port = server.url.rpartition(":")[2]
    webhooks = [f"{server.url}/in", f"http://localhost:{port}/in"]
    with launch(tmp_path_factory.mktemp("data"), webhooks=webhooks) as running:
        yield running


def delivered(door: Any, state: str) -> list[dict[str, Any]]:
    """The events, once a delivery is in this state."""
    return wait_until(door.events, lambda seen: state in map(state_of, seen))


def state_of(event: dict[str, Any]) -> str:
    return str(event["delivery"]["state"])


def test_a_signed_event_is_posted(door, receiver):
    watch = door.watch(watch_for="gallery", deliver_to=f"{receiver.url}/in/people?of=door")
    crop = door.comes(RED, EVENING)
    (event,) = delivered(door, "delivered")
    assert event.pop("delivery") == {
        "state": "delivered", "attempts": 1, "next_try": None, "error": None
    }  # fmt: skip
    ((path, headers, body),) = receiver.got
    assert path == "/in/people?of=door"
    assert headers["webhook-signature"] == signature_of(watch["secret"], headers, body)
    message = json.loads(body)
    assert (message["type"], message["data"]) == ("event", event)
    assert (event["crop_id"], headers["webhook-id"]) == (crop, event["event_id"])
    assert solid(RED, kind="PNG")[:20] not in body


def test_what_fails_is_tried_again_under_the_same_id(door, receiver):
    receiver.answers = [500, 302]
    receiver.location = f"{receiver.url}/in/elsewhere"
    door.watch(watch_for="gallery", deliver_to=f"{receiver.url}/in")
    door.comes(RED, EVENING)
    (event,) = delivered(door, "delivered")
    assert event["delivery"]["attempts"] == 3
    assert receiver.ids == [event["event_id"]] * 3
    assert {path for path, _, _ in receiver.got} == {"/in"}  # redirects are not followed


def test_what_a_receiver_does_not_want_has_failed_until_it_is_asked_for(door, receiver):
    receiver.answers = [410]
    door.watch(watch_for="gallery", deliver_to=f"{receiver.url}/in")
    door.comes(RED, EVENING)
    (event,) = delivered(door, "failed")
    assert "410" in event["delivery"]["error"]
    assert door.events(delivery="waiting") == []
    path = f"/galleries/{door.name}/events/{event['event_id']}/deliver"
    assert door.service.http.post(path).status_code == 202
    delivered(door, "delivered")
    assert door.service.http.post(path.replace(event["event_id"], "0")).status_code == 404


def test_a_receiver_that_hangs_holds_up_no_other(door, receiver):
    door.watch(watch_for="gallery", deliver_to=f"{receiver.url}{SLOW}")
    watch = door.watch(watch_for="unknown", deliver_to=f"{receiver.url}/in")
    with always_set(receiver.released):
        door.comes(RED, EVENING)
        wait_until(lambda: receiver.got)
        stranger = door.comes((20, 20, 200), EVENING)
        ask = partial(door.seen, watch_id=watch["watch_id"], delivery="delivered")
        assert wait_until(ask) == [(stranger, None)]
        assert len(door.events(delivery="waiting")) == 1
    wait_until(lambda: not door.events(delivery="waiting"))


def test_a_name_that_is_not_public_is_not_connected_to(door, receiver):
    port = receiver.url.rpartition(":")[2]
    door.watch(watch_for="gallery", deliver_to=f"http://localhost:{port}/in")
    door.comes(RED, EVENING)
    (event,) = wait_until(door.events, lambda seen: seen and seen[0]["delivery"]["attempts"] > 1)
    assert "which REID_WEBHOOKS does not allow" in event["delivery"]["error"]
    assert receiver.got == []


@pytest.mark.parametrize(
    "path",
    ["", "/other", "/inner", "/in/../other", "/in/%2e%2E/other", "/in#x", "/in\\@x", "@x/in"],
)
def test_only_allowed_addresses_are_accepted(door, receiver, path):
    answer = door.try_to_watch(watch_for="gallery", deliver_to=receiver.url + path)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "deliver_to" in answer.json()["detail"]


def test_pauses_grow_to_an_hour():
    assert [pause_after(attempts) for attempts in (1, 2, 3, 10, 11, 30)] == [
        5.0, 10.0, 20.0, 2560.0, 3600.0, 3600.0
    ]  # fmt: skip
