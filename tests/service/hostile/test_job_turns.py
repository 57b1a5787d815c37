"""Turns go round those who ask: nobody's endless work makes another one wait for its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from service.jobs.base import Order
from service.jobs.context import JobContext

PATIENCE = 120.0


class Place:
    """A board whose jobs wait for a word of the test."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.begun: list[str] = []
        self._changed = threading.Condition()
        self._ends: dict[str, threading.Event] = {}
        board._run = self._run

    def ask(self, client: str, gallery: str) -> str:
        """Place a job; its name is the client's and the gallery's."""
        self._ends[f"{client} {gallery}"] = threading.Event()
        spec = {"client": client, "number": len(self._ends)}
        self.board.place(Order("cluster", gallery, spec, client=client))
        return f"{client} {gallery}"

    def wait_for(self, count: int) -> list[str]:
        """The jobs that have begun, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, PATIENCE), self.begun
            return list(self.begun)

    def end(self, name: str) -> None:
        self._ends[name].set()

    def end_all(self) -> None:
        for event in self._ends.values():
            event.set()

    def _run(self, context: JobContext) -> None:
        name = f"{context.spec['client']} {context.gallery}"
        with self._changed:
            self.begun.append(name)
            self._changed.notify_all()
        assert self._ends[name].wait(PATIENCE)


@pytest.fixture
def place(start: Any) -> Iterator[Place]:
    with start() as service:
        for name in ("g1", "g2", "g3", "g4", "h1", "i1"):
            service.create(name)
        here = Place(service.parts.board)
        try:
            yield here
        finally:
            here.end_all()


def test_one_client_never_has_every_worker(place):
    for gallery in ("g1", "g2", "g3", "g4"):
        place.ask("key a", gallery)
    place.wait_for(2)
    place.ask("key b", "h1")
    assert place.wait_for(3) == ["key a g1", "key a g2", "key b h1"]


def test_the_next_one_is_of_whoever_was_served_longest_ago(place):
    for gallery in ("g1", "g2", "g3", "g4"):
        place.ask("key a", gallery)
    place.wait_for(2)
    place.ask("key b", "h1")
    place.wait_for(3)
    place.ask("key c", "i1")
    place.end("key a g1")
    assert place.wait_for(4)[3] == "key c i1", "who came last, and was never served, comes first"
    place.end("key b h1")
    assert place.wait_for(5)[4] == "key a g3"


def test_galleries_of_one_client_take_turns(place):
    for gallery in ("g1", "g1", "g2", "g3"):
        place.ask("key a", gallery)
    assert place.wait_for(2) == ["key a g1", "key a g2"]
    place.end("key a g1")  # the second one of g1 is older than that of g3, but g1 had a turn
    assert place.wait_for(3)[2] == "key a g3"
