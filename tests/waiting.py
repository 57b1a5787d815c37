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


def ended(http: httpx.Client, job: httpx.Response | str) -> dict[str, Any]:
    """Wait until a job is done, failed or cancelled.

    Args:
        http: a client of the service.
        job: the job's path, or the answer to the request that began or resumed it.

    Returns:
        The job as it ended.

    Raises:
        AssertionError: the request was refused, the job cannot be read, or it does not end.
    """
    __tracebackhide__ = True
    path = job if isinstance(job, str) else _path_of(job)

    def look() -> dict[str, Any]:
        answer = http.get(path)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen

    return wait_until(look, lambda seen: seen["finished"] is not None)


def _path_of(answer: httpx.Response) -> str:
    assert answer.status_code in {200, 202}, answer.text
    path = f"/jobs/{answer.json()['job_id']}"
    assert answer.headers.get("Location", path) == path
    return path


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
