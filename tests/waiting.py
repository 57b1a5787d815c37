"""Waiting for what certainly happens, however busy the machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

Seen = TypeVar("Seen")

PATIENCE = 300.0
"""Seconds after which something counts as stuck: far more than it takes on the busiest machine, and
less than the time limit of a test, which would not say what was waited for."""

_BETWEEN_LOOKS = 0.01  # seconds


def wait_until(
    look: Callable[[], Seen], good: Callable[[Seen], object] = bool, *, seconds: float = PATIENCE
) -> Seen:
    """Look again and again until what is seen is good.

    Args:
        look: returns what is seen now; an exception ends the wait.
        good: judges it; by default, anything true is good.
        seconds: after how many to give up, > 0.

    Returns:
        The first good sight.

    Raises:
        AssertionError: nothing good was seen in time; it states the last sight.
    """
    __tracebackhide__ = True
    give_up = time.monotonic() + seconds
    while not good(seen := look()):
        late = time.monotonic() > give_up
        assert not late, f"waited {seconds:g} seconds in vain, and still see {seen!r:.2000}"
        time.sleep(_BETWEEN_LOOKS)
    return seen


def ended(http: httpx.Client, location: str) -> dict[str, Any]:
    """Wait until a job is done, failed or cancelled.

    Args:
        http: a client of the service.
        location: the job's path.

    Returns:
        The job's last state.
    """
    __tracebackhide__ = True

    def look() -> dict[str, Any]:
        answer = http.get(location)
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    return wait_until(look, lambda job: job["finished"] is not None)


def is_up(http: httpx.Client, path: str = "/readyz") -> bool:
    """Whether the service answers a probe with 200; it need not listen yet."""
    try:
        return http.get(path).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def always_set(*events: threading.Event) -> Iterator[None]:
    """Set events when the block ends, so that a test that fails before it does so ends at once.

    Enter it last: a service or a pool of threads that ends first would wait for threads that wait
    for the events.
    """
    try:
        yield
    finally:
        for event in events:
            event.set()
