"""Events as they are stored, over a stream that ends, resumes and holds nobody up."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from waiting import wait_until

from service.client import AsyncClient, Client, NotFound

RED = (200, 20, 20)
TIMES = count(1_795_284_000)


@pytest.fixture
def watched(door, monkeypatch):
    monkeypatch.setattr("service.http.event_stream.LIFETIME", 0.05)  # many connections
    door.watch(watch_for="gallery", quiet_seconds=0)
    for _ in range(2):
        door.comes(RED, next(TIMES))
    assert len(door.events()) == 2
    return door


def newest(door) -> str:
    """The cursor of the newest event."""
    path = f"/galleries/{door.name}/events"
    return str(door.service.http.get(path, params={"limit": 1}).json()["cursor"])


def test_a_listener_gets_every_event_once_over_many_connections(watched):
    with Client(watched.service.url) as client:
        listening = client.events.stream(watched.name, cameras=["c1"], after=newest(watched))
        for _ in range(4):
            watched.comes(RED, next(TIMES), camera="c2")
            crop = watched.comes(RED, next(TIMES))
            assert next(listening).crop_id == crop
        listening.close()


def test_the_asynchronous_client_listens_too(watched):
    after = newest(watched)
    crops = [watched.comes(RED, next(TIMES)) for _ in range(2)]

    async def listen() -> list[str]:
        async with AsyncClient(watched.service.url) as client:
            with pytest.raises(NotFound):
                await anext(client.events.stream("nowhere"))
            listening = client.events.stream(watched.name, after=after)
            return [(await anext(listening)).crop_id for _ in crops]

    assert asyncio.run(listen()) == crops


def test_a_stream_resumes_after_the_last_event_and_ends(watched):
    after = newest(watched)
    crop = watched.comes(RED, next(TIMES))
    assert len(watched.events()) == 3
    path = f"/galleries/{watched.name}/events/stream"
    answer = watched.service.http.get(path, headers={"Last-Event-ID": after})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: 1000\n\nid: ")
    assert answer.text.count("crop_id") == answer.text.count(f'"{crop}"') == 1
    assert watched.service.http.head(path).status_code == 200
    refused = watched.service.http.get(path, headers={"Last-Event-ID": "invented"})
    assert refused.status_code == 422


def test_streams_have_a_limit_and_give_their_places_back(start, make_door, monkeypatch):
    monkeypatch.setattr("service.http.middleware.admission._STREAMS", 4)
    with start() as service:
        path = f"/galleries/{make_door(service).name}/events/stream"
        http = service.http
        with http.stream("GET", path) as first:
            lines = first.iter_lines()
            assert next(lines) == "retry: 1000"
            assert http.get(path).status_code == 429
            assert http.get("/galleries").status_code == 200

        def opened() -> bool:
            with http.stream("GET", path) as again:
                return again.status_code == 200

        wait_until(opened)
