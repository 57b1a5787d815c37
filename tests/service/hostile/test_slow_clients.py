"""Clients that read slowly, connect too often, or cause many log lines."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
import pytest
from waiting import PATIENCE

from service.access.limits import Buckets
from service.http.line_budget import LINES_PER_MINUTE, LineBudget, Summary
from service.http.middleware.every_request import _Answer
from service.testing import solid

CROP = solid((200, 20, 20))
HEAD = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def test_a_flood_from_one_address_ends_its_own_connections(launch, tmp_path, dial):
    """The limit is 8 x 4 + 64 connections; the flood would need three times as many."""
    with launch(tmp_path, max_requests=4) as service, ExitStack() as stack:
        guests = [stack.enter_context(dial(service, f"127.0.0.{n}")) for n in range(2, 12)]
        for guest in guests:
            guest.send(HEAD)
            assert guest.answer()[0] == 200
        for _ in range(300):
            stack.enter_context(dial(service, "127.0.0.100"))
        for guest in guests:  # older, and idle for longer, than any connection of the flood
            guest.send(HEAD)
            assert guest.answer()[0] == 200


def test_an_unneeded_body_does_not_lose_the_answer(launch, tmp_path, dial, key_in):
    """The client asks to close, and writes its whole body before it reads."""
    key_in(tmp_path)
    body = bytes(8_000_000)
    head = f"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with launch(tmp_path) as service:
        for ending in ("Connection: close\r\n\r\n", "\r\n"):
            with dial(service) as line:
                line.send(head.encode() + ending.encode())
                line.send(body)
                assert line.problem()[0] == 401


def test_an_endless_rejected_body_takes_no_place(launch, tmp_path, dial, key_in, upload):
    key = key_in(tmp_path)
    with launch(tmp_path, max_requests=1) as service, ExitStack() as stack:
        for _ in range(20):
            line = stack.enter_context(dial(service))
            line.send(upload(10_000_000) + bytes(100_000))
            assert line.problem()[0] == 401
        headers = {"Authorization": f"Bearer {key}"}
        answer = service.http.post("/search", files={"images": ("a", CROP)}, headers=headers)
        assert answer.status_code == 200


@dataclass
class Loop:
    """An event loop with only a clock and one timer."""

    now: float = 0.0
    due: float | None = None
    call: object = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: object) -> Loop:
        self.due, self.call = self.now + delay, call
        return self

    def cancel(self) -> None:
        self.due = None

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due is not None and self.due <= end:
            self.now, self.due = self.due, None
            self.call()
        self.now = end


@dataclass
class Reader:
    """A client that reads this many bytes per second while an answer waits."""

    loop: Loop = field(default_factory=Loop)
    taken: int = 0
    ended: bool = False

    def read(self, pace, rate: int, seconds: int) -> float | None:
        """When its connection ended, or None."""
        pace.pause()
        for _ in range(seconds):
            self.taken += rate
            self.loop.advance(1.0)
            if self.ended:
                return self.loop.now
        return None

    def end(self) -> None:
        self.ended = True


def pace_of(reader: Reader):
    reading_pace = pytest.importorskip("service.http.connections.reading_pace")
    return reading_pace.ReadingPace(30.0, reader.loop, lambda: reader.taken, reader.end)


@pytest.mark.parametrize(
    ("rate", "ends"), [(0, 30.0), (1, 30.0), (30_000, 30.0), (40_000, None), (10_000_000, None)]
)
def test_an_answer_that_is_read_too_slowly_is_aborted(rate, ends):
    reader = Reader()
    assert reader.read(pace_of(reader), rate, 600) == ends


def test_fast_reading_before_buys_no_time():
    reader = Reader(taken=10**9)
    assert reader.read(pace_of(reader), 10, 600) == 30.0


def test_a_moment_of_reading_buys_no_time_either():
    reader = Reader()
    pace = pace_of(reader)
    for _ in range(10):
        if reader.read(pace, 1000, 29) is not None:
            break
        pace.resume()
    assert reader.ended
    assert reader.loop.now == 30.0


def test_time_without_waiting_does_not_count():
    reader = Reader()
    pace = pace_of(reader)
    for _ in range(10):
        reader.read(pace, 0, 2)
        pace.resume()
        reader.loop.advance(1000.0)
    assert not reader.ended


async def pieces_of(body: bytes) -> list[dict]:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    answer = _Answer(send, "id")
    await answer.send({"type": "http.response.start", "status": 200, "headers": []})
    await answer.send({"type": "http.response.body", "body": body})
    return sent[1:]


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000])
def test_an_answer_is_sent_in_pieces_as_the_client_reads(size):
    import asyncio

    body = bytes(range(256)) * (size // 256 + 1)
    sent = asyncio.run(pieces_of(body[:size]))
    assert b"".join(message["body"] for message in sent) == body[:size]
    assert all(len(message["body"]) <= 65_536 for message in sent)
    assert [bool(message.get("more_body")) for message in sent] == [True] * (len(sent) - 1) + [
        False
    ]


def test_a_flood_of_rejected_requests_does_not_flood_the_log(start, caplog, dial):
    logged = caplog.at_level(logging.INFO, "service.requests")
    with start() as service, dial(service) as line, logged:
        for number in range(500):
            line.send(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            assert line.answer()[0] == 404
        assert service.http.get("/galleries").status_code == 200
    own = [text for text in caplog.messages if text.startswith("GET /") and " 404 " in text]
    assert LINES_PER_MINUTE <= len(own) < 400  # one more per second
    assert any("without a line of their own" in text for text in caplog.messages)
    assert any(text.startswith("GET /galleries 200") for text in caplog.messages)


def test_a_flood_of_invalid_http_does_not_flood_the_log(start, caplog, dial, monkeypatch):
    monkeypatch.setattr("service.http.line_budget._SECOND", 3600.0)
    with start() as service:
        for _ in range(50):
            with dial(service) as line:
                line.send(b"SSH-2.0-x\r\n\r\n")
                assert line.answer()[0] == 400
    about = [text for text in caplog.messages if "HTTP" in text]
    assert about == ["1 requests that are not valid HTTP since the last line like this"]


def test_the_log_shows_only_part_of_an_unknown_paths_first_segment(start, caplog):
    with start() as service, caplog.at_level(logging.INFO, "service.requests"):
        service.http.get(f"/photos/anna-k/{'x' * 5000}")
        service.http.get(f"/{'y' * 5000}")
    shown = [text.split()[1] for text in caplog.messages if " 404 " in text]
    assert shown == ["/photos/…", f"/{'y' * 40}…"]


def test_lines_are_limited_per_client():
    now = [0.0]
    counted: list[int] = []

    class Log:
        def warning(self, _text: str, count: int) -> None:
            counted.append(count)

    def clock() -> float:
        return now[0]

    budget = LineBudget(Summary(Log(), "%d", clock), clock)
    assert [budget.allows("a") for _ in range(70)].count(True) == LINES_PER_MINUTE
    assert budget.allows("b")
    assert counted == [1]
    now[0] = 1.5
    assert budget.allows("a")
    assert not budget.allows("a")
    assert counted == [1, 10]
    assert isinstance(budget._buckets, Buckets)


def test_a_query_with_many_values_does_not_cost_quadratic_time(service):
    """Sixteen kilobytes of one parameter; every route checks that it is given once."""
    query = "&".join(f"a={number:x}" for number in range(2500))
    answer = service.http.get(f"/whoami?{query}")
    assert answer.status_code == 422
    assert "a has 2500 values" in answer.json()["detail"]


def test_a_new_connection_is_rejected_only_if_every_connection_is_busy():
    module = pytest.importorskip("service.http.connections.open_connections")

    @dataclass(eq=False)
    class Fake:
        client_name: str
        idle: bool
        idle_since: float = 0.0
        aborted: bool = False

        def abort(self) -> None:
            self.aborted = True

    connections = module.OpenConnections(4)
    busy = [Fake("a", idle=False) for _ in range(3)]
    for connection in busy:
        assert connections.add(connection)
    idle = Fake("b", idle=True)
    assert connections.add(idle)
    assert connections.add(Fake("c", idle=False))
    assert idle.aborted
    assert not connections.add(Fake("c", idle=False))
    connections.remove(busy[0])
    connections.remove(busy[0])
    assert connections.add(Fake("c", idle=False))
    assert len(connections) == 4


def test_large_answers_arrive_complete(start):
    with start(max_images=1000, max_queue=2000, max_queue_seconds=600) as service:
        files = [("images", (f"{n}", CROP)) for n in range(400)]
        answer = service.http.post("/embed", files=files)
        assert len(answer.content) > 200_000
        assert len(answer.json()["results"]) == 400
        with httpx.Client(base_url=service.url, timeout=PATIENCE) as client:
            script = client.get("/docs/assets/swagger-ui-bundle.js")
            head = client.head("/docs/assets/swagger-ui-bundle.js")
        assert len(script.content) == int(head.headers["Content-Length"]) > 1_000_000
