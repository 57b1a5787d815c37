"""Two operations on one gallery, the first of them paused, and the states that they may leave."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from pauses.operations import ERASED, OPERATIONS, Client
from pauses.schedule import STUCK_SECONDS, Now, Schedule
from pauses.world import World

ROLES = ("first", "second")
State = dict[str, Any]
EVERY_TIME = os.environ.get("REID_TEST_EVERY_PAUSE") == "1"
"""Pause at each place as often as an operation comes there; takes some ten minutes."""


@dataclass
class Run:
    """What one operation did."""

    client: Client
    name: str
    acknowledged: bool | None = None
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.ended = threading.Event()

    def _work(self) -> None:
        schedule = Now.schedule
        try:
            self.acknowledged = OPERATIONS[self.name](self.client)
        except BaseException as error:  # noqa: BLE001 - raised by the test
            self.failure = error
        finally:
            self.ended.set()
            (schedule.reached if self.client.role == "first" else schedule.waits).set()

    def finish(self) -> bool:
        if not self.ended.wait(STUCK_SECONDS):
            pytest.fail(f"{self.name} is stuck:\n{_stacks()}", pytrace=False)
        if self.failure is not None:
            raise self.failure
        assert self.acknowledged is not None
        return self.acknowledged


@dataclass(frozen=True)
class Allowed:
    """The states in which two operations may leave the gallery.

    Attributes:
        orders: both operations, in either order.
        alone: only the operation of this role, if the other one was refused.
        neither: if both were refused.
    """

    orders: tuple[State, State]
    alone: dict[str, State]
    neither: State

    @classmethod
    def of(cls, pair: Pair, first: str, second: str) -> Allowed:
        one, two = ("first", first), ("second", second)
        return cls(
            orders=(pair.in_turn(one, two), pair.in_turn(two, one)),
            alone={"first": pair.in_turn(one), "second": pair.in_turn(two)},
            neither=pair.in_turn(),
        )

    def check(self, state: State, done: list[bool], told: str) -> None:
        """Check that the state is one of these."""
        states = list(self.orders)
        if len(done) == 1:
            states, done = [self.alone["first"]], [*done, True]
        if not done[1]:
            states.append(self.alone["first"])
        if not done[0]:
            states.append(self.alone["second"])
        if not any(done):
            states.append(self.neither)
        if state not in states:
            nearest = min((_differences(state, one) for one in states), key=len)
            pytest.fail(f"{told}, acknowledged {done}: " + "; ".join(nearest), pytrace=False)


def _differences(found: State, wanted: State) -> list[str]:
    """How two states differ."""
    lines = []
    for name in sorted({*found, *wanted}):
        here, there = found.get(name), wanted.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            lines += [f"{name} {line}" for line in _differences(here, there)]
        elif here != there:
            lines.append(f"{name}: {here} instead of {there}")
    return lines


class Pair:
    """Two operations on the same gallery."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clients = {role: Client(world, role, _connection(world)) for role in ROLES}
        self._states: dict[tuple[tuple[str, str], ...], State] = {}
        self._places: dict[str, list[tuple[str, int]]] = {}

    def close(self) -> None:
        for client in self.clients.values():
            client.http.close()

    def in_turn(self, *runs: tuple[str, str]) -> State:
        """The state after running each (role, operation) in turn."""
        if runs not in self._states:  # many pairs have a run in common
            self._run_in_turn(*runs)
            self._states[runs] = self.world.state()
        return self._states[runs]

    def places(self, first: str) -> list[tuple[str, int]]:
        """Where an operation can pause: each place once, or each time it is reached."""
        if first not in self._places:
            self._run_in_turn(("first", first))
            times: Counter[str] = Counter()
            found = []
            for place in Now.schedule.places:
                times[place] += 1
                found.append((place, times[place]))
            self._places[first] = [one for one in found if EVERY_TIME or one[1] == 1]
        return self._places[first]

    def _run_in_turn(self, *runs: tuple[str, str]) -> None:
        self.world.reset()
        Now.schedule = Schedule()
        for role, name in runs:
            OPERATIONS[name](self.clients[role])

    def paused(self, first: str, second: str, place: tuple[str, int]) -> list[bool]:
        """Run ``first`` up to a place, ``second`` as far as it can go, then both to their ends.

        Returns:
            Whether each was acknowledged; only the first if it did not reach the place.
        """
        self.world.reset()
        for client in self.clients.values():
            client.receipts.clear()
        schedule = Now.schedule = Schedule(pause_at=place)
        one, two = Run(self.clients["first"], first), Run(self.clients["second"], second)
        one.thread.start()
        if not schedule.reached.wait(STUCK_SECONDS):
            pytest.fail(f"{first} is stuck by itself:\n{_stacks()}", pytrace=False)
        if one.ended.is_set():
            return [one.finish()]
        two.thread.start()
        if not schedule.waits.wait(STUCK_SECONDS):
            pytest.fail(f"{first} paused at {place}; {second} waits:\n{_stacks()}", pytrace=False)
        schedule.resume()
        return [one.finish(), two.finish()]


def _stacks() -> str:
    """The stack of every thread of the service."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    told = []
    for ident, frame in sys._current_frames().items():
        calls = [call for call in traceback.extract_stack(frame) if "/service/" in call.filename]
        told += [f"{names.get(ident)}: {call.name} {call.filename}:{call.lineno}" for call in calls]
    return "\n".join(told)


def _connection(world: World) -> httpx.Client:
    return httpx.Client(base_url=world.http.base_url, timeout=2 * STUCK_SECONDS)


def check_every_pause(pair: Pair, first: str, second: str) -> None:
    """Pause ``first`` at each of its places, run ``second`` meanwhile, and check how both end."""
    allowed = Allowed.of(pair, first, second)
    paused = 0
    for place in pair.places(first):
        done = pair.paused(first, second, place)
        paused += len(done) == 2
        told = f"{first} paused at {place}, {second} meanwhile"
        allowed.check(pair.world.state(), done, told)
        for client in pair.clients.values():
            for receipt in client.receipts:
                pair.world.check_receipt(receipt, ERASED, told)
        pair.world.check_soundness(told)
    assert paused, f"{first} has no place at which it could pause"
