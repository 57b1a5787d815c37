"""A client that only searches while others attack."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from attacks.meanwhile import meanwhile
from attacks.target import Target

PAUSE = 0.25  # seconds between two searches
TIMEOUT = 60.0


class Bystander:
    """Searches for one stored crop, again and again, with its own key.

    Attributes:
        statuses: HTTP statuses of its searches; 0 if no answer came.
        slowest: seconds of its slowest search.
        livez_slowest: seconds of the slowest answer of ``/livez``.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.statuses: Counter[int] = Counter()
        self.slowest = self.livez_slowest = 0.0

    @property
    def refused(self) -> int:
        """How many of its searches got an answer other than 200."""
        return sum(self.statuses.values()) - self.statuses[200]

    def report(self) -> dict[str, object]:
        """The figures of its searches and probes."""
        return {
            "searches": sum(self.statuses.values()),
            "refused": self.refused,
            "slowest_s": round(self.slowest, 2),
            "livez_slowest_s": round(self.livez_slowest, 2),
        }

    def search(self, over: threading.Event) -> None:
        """Search until ``over`` is set."""
        form = {"gallery": "office", "crop_ids": "00017", "top_k": "5"}
        while not over.wait(PAUSE):
            status, seconds = self._ask("POST", "/search", data=form, key="other")
            self.statuses[status] += 1
            self.slowest = max(self.slowest, seconds)

    def look(self, over: threading.Event) -> None:
        """Ask ``/livez`` until ``over`` is set."""
        while not over.wait(PAUSE):
            _, seconds = self._ask("GET", "/livez", key=None)
            self.livez_slowest = max(self.livez_slowest, seconds)

    def _ask(
        self, method: str, path: str, *, key: str | None, data: dict[str, str] | None = None
    ) -> tuple[int, float]:
        start = time.perf_counter()
        try:
            with self._target.client(key) as client:  # a new connection, as a newcomer has
                status = client.request(method, path, data=data, timeout=TIMEOUT).status_code
        except httpx.TransportError:
            status = 0
        return status, time.perf_counter() - start


@contextmanager
def searching(target: Target) -> Iterator[Bystander]:
    """Run a bystander that searches while the block runs."""
    bystander = Bystander(target)
    with meanwhile(bystander.search, bystander.look):
        yield bystander
