"""Clients take turns: nobody waits for the end of another client's work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.jobs.context import JobContext


class Place:
    """A service whose jobs wait until the test releases them."""

    def __init__(self, service: Any, keys: KeyStore) -> None:
        self.begun: list[str] = []
        self._service = service
        self._keys = keys
        self._headers: dict[str, dict[str, str]] = {}
        self._names: dict[int, str] = {}
        self._changed = threading.Condition()
        self._ends: dict[str, threading.Event] = {}
        service.parts.board._workers._run = self._run

    def ask(self, key: str, gallery: str) -> None:
        """Place a job with a key of this name; key and gallery make its name."""
        if key not in self._headers:
            _, text = self._keys.create(NewKey(label=key, scope="admin"))
            self._headers[key] = {"Authorization": f"Bearer {text}"}
        number = len(self._names) + 2
        self._names[number] = f"{key} {gallery}"
        self._ends.setdefault(f"{key} {gallery}", threading.Event())
        url = f"{self._service.url}/galleries/{gallery}/cluster"
        answer = httpx.post(
            url, json={"min_samples": number}, headers=self._headers[key], timeout=PATIENCE
        )
        assert answer.status_code == 202, answer.text

    def wait_for(self, count: int) -> list[str]:
        """The jobs that have begun, once this many have."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.begun) >= count, PATIENCE), self.begun
            return list(self.begun)

    def end(self, name: str) -> None:
        self._ends[name].set()

    def end_all(self) -> None:
        for event in self._ends.values():
            event.set()

    def _run(self, context: JobContext) -> None:
        name = self._names[context.spec["min_samples"]]
        with self._changed:
            self.begun.append(name)
            self._changed.notify_all()
        assert self._ends[name].wait(PATIENCE)


@pytest.fixture
def place(start: Any, tmp_path: Path) -> Iterator[Place]:
    with start() as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
        for name in ("g1", "g2", "g3", "g4", "h1", "i1"):
            service.create(name)
        here = Place(service, keys)
        try:
            yield here
        finally:
            here.end_all()


def test_one_client_never_gets_every_worker(place):
    for gallery in ("g1", "g2", "g3", "g4"):
        place.ask("key a", gallery)
    place.wait_for(2)
    place.ask("key b", "h1")
    assert place.wait_for(3) == ["key a g1", "key a g2", "key b h1"]


def test_the_client_served_longest_ago_is_next(place):
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
    place.end("key a g1")  # g1's second job is older than g3's, but g1 had a turn
    assert place.wait_for(3)[2] == "key a g3"
