"""Events reach a real MQTT broker, and Home Assistant finds the watches there."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

sys.path.insert(0, str(Path(__file__).parent))  # the modules ``broker`` and ``receiver``

from broker import Broker, listening

from service.alerts.mqtt import MqttLine
from service.settings import Settings
from service.values.broker import Broker as Address

RED, BLUE = (200, 20, 20), (20, 20, 200)
EVENING = 1_795_284_000.0
STATUS = "reid/test/status"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at every few seconds is looked at now."""
    monkeypatch.setattr("service.alerts.mqtt._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("service.alerts.mqtt._LONGEST_PAUSE", 0.02)


@pytest.fixture
def door(soon: None, start: Any, make_door: Any, broker: Broker) -> Iterator[Any]:
    with start(mqtt=broker.url) as service:
        yield make_door(service)


def config(watch: dict[str, Any]) -> str:
    return f"homeassistant/event/reid_test/{watch['watch_id']}/config"


def delivered(door: Any) -> list[dict[str, Any]]:
    def all_are(events: list[dict[str, Any]]) -> bool:
        return bool(events) and all(e["delivery"]["state"] == "delivered" for e in events)

    return wait_until(door.events, all_are)


def test_events_are_published_as_home_assistant_reads_them(door, broker):
    with listening(broker) as listener:
        watch = door.watch(watch_for="gallery", name="Anna or Ben", deliver_to="mqtt")
        strangers = door.watch(watch_for="unknown", deliver_to="mqtt")
        assert watch["secret"] is None
        door.comes(RED, EVENING)
        door.comes(BLUE, EVENING)
        events = {event["watch_id"]: event for event in delivered(door)}
        announced = wait_until(lambda: listener.under(config(watch)))[0]
        topic = announced["state_topic"]
        (message,) = wait_until(lambda: listener.under(topic))
        other = f"reid/test/{door.name}/{strangers['watch_id']}"
        (unknown,) = wait_until(lambda: listener.under(other))
    assert announced["name"] == "Anna or Ben"
    assert announced["availability_topic"] == STATUS
    assert listener.under(config(strangers))[0]["name"] == f"{door.name}: unknown"
    assert message.pop("event_type") == "match"
    assert message["identity"] == "anna"
    known = events[watch["watch_id"]]
    known.pop("delivery")
    assert message == known
    assert (unknown["event_type"], unknown["identity"]) == ("unknown", None)
    assert {"match", "unknown"} == set(announced["event_types"])


def test_what_happens_while_the_broker_is_away_comes_once_it_is_back(door, broker):
    gone = door.watch(watch_for="unknown", name="Anna's door", deliver_to="mqtt")
    watch = door.watch(watch_for="gallery", quiet_seconds=0, deliver_to="mqtt")
    topic = f"reid/test/{door.name}/{watch['watch_id']}"
    with listening(broker) as listener:
        wait_until(lambda: {config(gone), config(watch)} <= {name for name, _ in listener.heard})
        door.comes(RED, EVENING)
        assert len(delivered(door)) == 1
        broker.stop()
        line = door.service.parts.alerts.delivering
        wait_until(lambda: not line.is_connected)
        door.comes(RED, EVENING + 1)
        waiting = [e for e in door.events() if e["delivery"]["state"] == "waiting"]
        assert [e["delivery"]["attempts"] for e in waiting] == [0]  # waiting is no attempt
        path = f"/galleries/{door.name}/watches/{gone['watch_id']}"
        assert door.service.http.delete(path).status_code == 204
        broker.start()
        assert len(delivered(door)) == 2
        wait_until(lambda: len(listener.under(topic)) >= 2)
    wait_until(lambda: config(gone) not in retained(broker))
    left = json.loads(retained(broker)[config(watch)])
    assert left["unique_id"] == f"reid_test_{watch['watch_id']}"


def retained(broker: Broker) -> dict[str, str]:
    """What the broker tells whoever comes now."""
    with listening(broker) as listener:
        return dict(listener.retained)


def test_an_erased_name_leaves_the_broker(door, broker):
    two = {"watch_for": "identities", "identities": ["anna", "ben"]}
    watch = door.watch(**two, name="Is Anna there?", deliver_to="mqtt")
    wait_until(lambda: "Anna" in retained(broker).get(config(watch), ""))
    path = f"/galleries/{door.known}/crops/delete"
    assert door.service.http.post(path, json={"identities": ["anna"]}).json()["deleted"] == 1
    wait_until(lambda: "Anna" not in retained(broker).get(config(watch), "Anna"))
    door.service.http.delete(f"/galleries/{door.known}")
    wait_until(lambda: config(watch) not in retained(broker))


def test_the_broker_says_whether_the_service_runs(soon, launch, broker, tmp_path):
    with launch(tmp_path / "data", mqtt=broker.url):
        wait_until(lambda: retained(broker).get(STATUS) == "online")
    assert retained(broker)[STATUS] == "offline"


def test_without_a_broker_mqtt_is_refused(service, make_door):
    answer = make_door(service).try_to_watch(watch_for="gallery", deliver_to="mqtt")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "REID_MQTT" in answer.json()["detail"]


def test_an_unforeseen_end_of_the_connection_is_not_the_last(
    soon, start, make_door, broker, monkeypatch
):
    follow, failures = MqttLine._follow, [RuntimeError("unforeseen")]

    async def fail_once(line: MqttLine, client: Any) -> None:
        if failures:
            raise failures.pop()
        await follow(line, client)

    monkeypatch.setattr(MqttLine, "_follow", fail_once)
    with start(mqtt=broker.url) as service:
        door = make_door(service)
        door.watch(watch_for="gallery", deliver_to="mqtt")
        door.comes(RED, EVENING)
        assert len(delivered(door)) == 1
    assert not failures


def test_a_broker_that_stays_away_is_tried_for_ever(soon, monkeypatch):
    monkeypatch.setattr("service.alerts.mqtt._LONGEST_PAUSE", 0.0)
    failures = 0

    def fail(_line: MqttLine) -> Any:
        raise OSError("away")

    def report(_task: str) -> None:
        nonlocal failures
        failures += 1
        if failures == 1100:  # a day, with real pauses
            raise asyncio.CancelledError

    monkeypatch.setattr(MqttLine, "_connection", fail)
    line = MqttLine(Address("away", 1883, encrypted=False), None, report, print)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(line.run())


@pytest.mark.parametrize("path", ["", "/reid/test/status", "/#"])
def test_a_client_chooses_no_broker(door, broker, path):
    for address in (f"mqtt://127.0.0.1:{broker.port}{path}", f"mqtt{path or ':'}", "MQTT"):
        answer = door.try_to_watch(watch_for="gallery", deliver_to=address)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_a_broker_that_refuses_the_password_holds_up_nothing(soon, start, make_door, broker):
    with start(mqtt=f"mqtt://reid:wrong@127.0.0.1:{broker.port}") as service:
        door = make_door(service)
        watch = door.watch(watch_for="gallery", deliver_to="mqtt")
        crop = door.comes(RED, EVENING)
        assert door.seen(watch_id=watch["watch_id"], delivery="waiting") == [(crop, "anna")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://b:0",
        "mqtt://b:99999",
        "mqtt://b/#",
        "mqtt://u:se cret@b",
    ],
)
def test_settings_reject_what_is_no_broker(text, tmp_path):
    with pytest.raises(ValueError, match=r"mqtt") as caught:
        Settings(data=tmp_path, mqtt=text)
    assert "cret" not in str(caught.value)
