"""Which requests get a place, and which ones lose it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException

from service.access.caller import NOBODY, Caller
from service.errors import Overloaded, TooManyRequests
from service.http.middleware.admission import Admission
from service.http.middleware.body import BodyLimits, Incoming
from service.http.places import Places
from service.settings import Settings


@dataclass(eq=False)
class Request:
    """A request whose rate the test sets."""

    rate: float = 0.0
    waited_seconds: float = 0.0
    given_up: list[str] = field(default_factory=list)

    def give_up(self) -> None:
        self.given_up.append("gone")


def slow(rate: float) -> Request:
    return Request(rate, waited_seconds=10.0)


def test_a_client_gets_its_share_and_all_clients_the_total():
    places = Places(3, 2)
    kept = [places.take("a", Request()) for _ in range(2)]
    with pytest.raises(TooManyRequests, match="2 requests of a are being answered already"):
        places.take("a", Request())
    places.take("b", Request())
    with pytest.raises(Overloaded, match="3 requests are being answered already"):
        places.take("c", Request())
    kept[0].release()
    kept[0].release()
    places.take("c", Request())
    with pytest.raises(Overloaded):
        places.take("c", Request())
    assert len(places) == 3


def test_a_client_at_its_share_loses_its_own_slowest_request():
    places = Places(10, 3)
    dripping, steady, slower = slow(1320.0), slow(100_000.0), slow(5000.0)
    for request in (steady, dripping, slower):
        places.take("a", request)
    other = slow(1.0)
    places.take("b", other)
    places.take("a", Request())
    assert (dripping.given_up, slower.given_up) == (["gone"], [])
    places.take("a", Request())
    assert slower.given_up == ["gone"]
    with pytest.raises(TooManyRequests):
        places.take("a", Request())
    assert not steady.given_up
    assert not other.given_up


def test_when_all_places_are_taken_the_client_with_most_loses_its_slowest_request():
    places = Places(4, 3)
    crowd = [slow(300.0), slow(200.0), slow(100.0)]
    for request in crowd:
        places.take("a", request)
    alone = slow(1.0)
    places.take("b", alone)
    places.take("c", Request())
    assert [request.given_up for request in crowd] == [[], [], ["gone"]]
    assert not alone.given_up


def test_no_client_loses_a_place_to_one_that_holds_more():
    places = Places(4, 4)
    for _ in range(3):
        places.take("a", Request())
    alone = slow(1.0)
    places.take("b", alone)
    with pytest.raises(Overloaded):
        places.take("a", Request())
    assert not alone.given_up


@pytest.mark.parametrize(
    ("waited", "rate", "loses"),
    [(0.5, 0.0, False), (1.5, 0.0, True), (1.5, 60_000.0, True), (99.0, 70_000.0, False)],
)
def test_a_request_is_slow_after_a_second_below_64_kib_per_second(waited, rate, loses):
    places = Places(1, 1)
    first = Request(rate, waited)
    places.take("a", first)
    if loses:
        places.take("b", Request())
    else:
        with pytest.raises(Overloaded):
            places.take("b", Request())
    assert bool(first.given_up) is loses


class Client:
    """Send a body in pieces when the test says so, on a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        scope = {"type": "http", "headers": []}
        limits = BodyLimits(10_000_000, 60.0)
        self.incoming = Incoming(
            self._receive, scope, limits, answered=lambda: False, clock=lambda: self.now
        )

    async def _receive(self) -> dict:
        piece = await self.pieces.get()
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(self, piece: bytes, seconds: float) -> None:
        """Make the service wait this long for the next piece."""
        waiting = asyncio.create_task(self.incoming.receive())
        await asyncio.sleep(0)
        self.now += seconds
        self.pieces.put_nowait(piece)
        await waiting


async def rates_of(*clients: tuple[bytes, float]) -> list[float]:
    rates = []
    for piece, seconds in clients:
        client = Client()
        for _ in range(8):
            await client.send(piece, seconds)
        waiting = asyncio.create_task(client.incoming.receive())
        await asyncio.sleep(0)
        rates.append(client.incoming.rate)
        waiting.cancel()
    return rates


def test_the_rate_covers_the_whole_wait_and_not_only_the_last_silence():
    dripping, steady = asyncio.run(rates_of((bytes(330), 0.25), (bytes(100_000), 1.0)))
    assert dripping == pytest.approx(1320.0)
    assert steady == pytest.approx(100_000.0)


async def lose_the_place(*, while_waiting: bool) -> str:
    client = Client()
    await client.send(b"x" * 330, 2.0)
    if while_waiting:
        waiting = asyncio.create_task(client.incoming.receive())
        await asyncio.sleep(0)
        client.incoming.give_up()
    else:
        client.incoming.give_up()
        client.pieces.put_nowait(b"more")
        waiting = asyncio.create_task(client.incoming.receive())
    with pytest.raises(HTTPException) as refused:
        await waiting
    assert refused.value.status_code == 408
    assert refused.value.headers == {"Connection": "close"}
    return refused.value.detail


@pytest.mark.parametrize("while_waiting", [True, False])
def test_a_client_that_lost_its_place_is_told_so(while_waiting):
    detail = asyncio.run(lose_the_place(while_waiting=while_waiting))
    assert detail.startswith("330 bytes of the request body arrived in 2.0 s: too slow to keep")


class Held:
    """An app whose answers wait until the test releases them."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0

    async def __call__(self, scope, receive, send) -> None:
        self.begun += 1
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def nothing(*_: object) -> None:
    """Discard a message."""


def scope_of(client: str, caller: Caller, path: str = "/docs") -> dict:
    state = {"client": client, "caller": caller, "incoming": Request()}
    return {"type": "http", "path": path, "headers": [], "state": state}


async def fill(requests: list[dict]) -> tuple[list[str], int]:
    """The outcome of requests that arrive before any is answered, and how many began."""
    app = Held()
    admission = Admission(app, Settings(max_requests=16), SimpleNamespace())
    tasks = [asyncio.create_task(admission(scope, nothing, nothing)) for scope in requests]
    await asyncio.sleep(0)
    begun = app.begun
    app.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(outcome).__name__ for outcome in found], begun


def test_clients_without_a_key_share_a_few_places_of_their_own_while_keys_exist():
    key = Caller("0a", "search")
    addresses = [scope_of(f"address 192.0.2.{number}", NOBODY) for number in range(40)]
    same = [scope_of("address 192.0.2.1", NOBODY) for _ in range(3)]
    known = [scope_of("key 0a", key) for _ in range(5)]
    outcomes, begun = asyncio.run(fill([*same, *addresses[2:], *known]))
    assert outcomes[:3] == ["NoneType", "TooManyRequests", "TooManyRequests"]
    assert outcomes[3:-5].count("NoneType") == 3
    assert outcomes[3:-5].count("Overloaded") == 35
    assert outcomes[-5:] == ["NoneType"] * 4 + ["TooManyRequests"]
    assert begun == 8


def test_scrapers_have_a_few_places_too_and_probes_need_none():
    scrapes = [scope_of(f"address 192.0.2.{number}", NOBODY, "/metrics") for number in range(50)]
    probes = [scope_of("address 192.0.2.1", NOBODY, "/livez") for _ in range(50)]
    outcomes, _ = asyncio.run(fill([*scrapes, *probes]))
    assert outcomes[:50].count("Overloaded") == 18
    assert outcomes[50:] == ["NoneType"] * 50


def test_the_share_is_a_quarter_unless_a_setting_says_otherwise():
    assert Settings().places_per_client == 64
    assert Settings(max_requests=3).places_per_client == 1
    assert Settings(max_requests=8, max_requests_per_client=5).places_per_client == 5
    assert Settings(max_requests=8, max_requests_per_client=50).places_per_client == 8
