"""Which failures are worth another attempt, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import ValidationError

from service.api.problems import Problem
from service.client.call import Call
from service.client.errors import (
    Overloaded,
    Refused,
    TooManyRequests,
    Unavailable,
    Unreachable,
    class_of,
)

_FIRST_PAUSE, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 0.1, 8.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(slots=True)
class Attempts:
    """The attempts at one request.

    Attributes:
        call: the request.
        retry_for: seconds from the first attempt within which another one may begin.
        clock: seconds that only rise.
    """

    call: Call[Any]
    retry_for: float
    clock: Callable[[], float] = time.monotonic
    _failed: int = 0
    _started: float = 0.0

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = self.clock()

    def after(self, error: httpx.RequestError | Refused) -> float | None:
        """What to do after a failed attempt.

        Args:
            error: why it failed.

        Returns:
            Seconds to wait before the next attempt; None if there should be none.
        """
        if not self._may_repeat(error):
            return None
        asked = error.retry_after if isinstance(error, Refused) else None
        pause = min(_FIRST_PAUSE * 2**self._failed, _LONGEST_PAUSE) if asked is None else asked
        pause = max(pause, _SHORTEST_PAUSE)
        self._failed += 1
        return pause if self.clock() - self._started + pause <= self.retry_for else None

    def _may_repeat(self, error: httpx.RequestError | Refused) -> bool:
        if self.call.repeat == "never":
            return False
        match error:
            case TooManyRequests() | Overloaded():  # refused before anything was done
                return self.call.repeat != "unsent"
            case Unavailable():
                return self.call.repeat == "always"
            case Refused():
                return False
            case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():  # it would fail again
                return False
            case _:
                return self.call.repeat == "always" or isinstance(error, _UNSENT)


def unreachable(url: str, error: httpx.RequestError) -> Unreachable:
    """The exception of a service that gave no answer."""
    reason = str(error) or type(error).__name__
    return Unreachable(f"{url}: {reason}; is the service running?")


def refusal(response: httpx.Response) -> Refused:
    """Read an answer that reports an error.

    Args:
        response: with its body read.

    Returns:
        The exception of its code.
    """
    about: dict[str, Any] = {
        "status": response.status_code,
        "request_id": response.headers.get("X-Request-ID"),
        "retry_after": _seconds(response.headers.get("Retry-After", "")),
    }
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        said = f"{response.request.url} answered {response.status_code} {response.reason_phrase}"
        return _BY_STATUS.get(response.status_code, Refused)(said, **about)
    message = f"{problem.title}: {problem.detail}"
    return class_of(problem.code)(message, problem=problem, **about)


_BY_STATUS: dict[int, type[Refused]] = {  # a proxy in between has no problem document
    httpx.codes.TOO_MANY_REQUESTS: TooManyRequests,
    httpx.codes.SERVICE_UNAVAILABLE: Unavailable,
}


def _seconds(text: str) -> float | None:
    """What ``Retry-After`` says: seconds, or a date of HTTP."""
    if text.isdecimal():
        return float(text)
    with suppress(ValueError):
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    return None
