"""Clients take turns, so a client that sends a lot delays only itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from service.errors import Overloaded, ReidError, TooManyRequests, Unavailable
from service.machine.disconnect import set_disconnect
from service.machine.fair_threads import ThreadQuota, Turns


class Journal:
    """Requests that record their steps."""

    def __init__(self, places: int = 1, each: int = 1, waiting: int = 100, in_all: int = 100):
        self.turns = Turns("searches", ThreadQuota(places, each, waiting, in_all))
        self.lines: list[str] = []

    async def request(self, client: str, name: str, steps: int) -> None:
        async with self.turns.taken(client) as turn:
            for step in range(steps):
                if step:
                    await turn.pass_on()
                self.lines.append(f"{name}{step}")
                await asyncio.sleep(0)  # the step is done elsewhere


def played(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(play())


def test_two_clients_alternate_step_by_step():
    journal = Journal()

    async def play() -> None:
        await asyncio.gather(
            *(journal.request("a", f"a{n}.", 3) for n in range(3)), journal.request("b", "b.", 3)
        )

    played(play)
    assert journal.lines[:6] == ["a0.0", "b.0", "a0.1", "b.1", "a0.2", "b.2"]
    rest = [f"a{n}.{step}" for n in (1, 2) for step in range(3)]
    assert journal.lines[6:] == rest  # one after the other: each is finished before the next begins


def test_a_client_waits_for_one_step_of_each_other_client():
    journal = Journal()

    async def play() -> None:
        asked = [
            asyncio.create_task(journal.request(client, f"{client}{n}.", 4))
            for n in range(12)
            for client in ("a", "b")
        ]
        await asyncio.sleep(0)
        await journal.request("c", "c", 5)
        own = [at for at, line in enumerate(journal.lines) if line.startswith("c")]
        assert own[0] <= 3
        assert max(later - at for at, later in pairwise(own)) <= 3
        await asyncio.gather(*asked)

    played(play)


def test_one_client_never_exceeds_its_quota():
    journal, held = Journal(places=4, each=2), [0, 0]

    async def request() -> None:
        async with journal.turns.taken("a"):
            held[0] += 1
            held[1] = max(held)
            await asyncio.sleep(0)
            held[0] -= 1

    async def play() -> None:
        asked = [asyncio.create_task(request()) for _ in range(20)]
        await asyncio.sleep(0)
        async with journal.turns.taken("b"), journal.turns.taken("b"):
            pass  # immediately, although eighteen wait
        assert journal.turns.waiting > 0
        await asyncio.gather(*asked)

    played(play)
    assert held == [0, 2]


def test_requests_beyond_the_quota_are_rejected():
    journal = Journal(waiting=2, in_all=3)

    async def play() -> None:
        async with journal.turns.taken("a"):
            waiting = [asyncio.create_task(journal.request("a", "a", 1)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(TooManyRequests, match="2 searches of this client"):
                journal.turns.admit("a")
            waiting.append(asyncio.create_task(journal.request("b", "b", 1)))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="3 searches are already waiting"):
                journal.turns.admit("c")
        await asyncio.gather(*waiting)
        journal.turns.admit("a")

    played(play)


@pytest.mark.parametrize("moment", ["waiting", "working", "granted"])
def test_a_disconnected_client_frees_its_place_and_stops(moment):
    journal = Journal()

    async def play() -> None:
        departure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def request() -> None:
            set_disconnect(departure)
            with pytest.raises(Unavailable, match="the client has disconnected"):
                await journal.request("a", "a", 3)

        match moment:
            case "working":
                leaving = asyncio.create_task(request())
                await asyncio.sleep(0)
                departure.set_result(None)
            case _:
                async with journal.turns.taken("b"):
                    leaving = asyncio.create_task(request())
                    await asyncio.sleep(0)
                    if moment == "waiting":
                        departure.set_result(None)
                        await leaving
                if moment == "granted":  # in the same iteration of the loop
                    departure.set_result(None)
        await leaving
        await journal.request("c", "c", 1)  # the place is free

    played(play)
    assert journal.lines == (["a0", "c0"] if moment == "working" else ["c0"])
    assert not journal.turns.waiting


def test_a_cancelled_request_frees_its_place():
    journal = Journal()

    async def play() -> None:
        async with journal.turns.taken("b"):
            task = asyncio.create_task(journal.request("a", "a", 1))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert not journal.turns.waiting
        await journal.request("c", "c", 1)

    played(play)
    assert journal.lines == ["c0"]


def test_a_step_that_fails_frees_its_place():
    journal = Journal()

    async def play() -> None:
        with pytest.raises(ReidError):
            async with journal.turns.taken("a"):
                raise Unavailable("broken")
        await journal.request("b", "b", 1)

    played(play)
    assert journal.lines == ["b0"]
