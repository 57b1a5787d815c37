"""Limit the log lines that clients cause: a flood of requests must not flood the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from service.access.limits import Buckets

_SECOND = 1.0
LINES_PER_MINUTE = 60


class Summary:
    """Counts events that get no log line of their own; logs the count at most once per second.

    Args:
        log: receives the line.
        text: the line, with ``%d`` for the count.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, log: logging.Logger, text: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._text = text
        self._clock = clock
        self._count = 0
        self._told = -_SECOND

    def count(self) -> None:
        """Count one event."""
        self._count += 1
        now = self._clock()
        if now - self._told >= _SECOND:
            self._log.warning(self._text, self._count)
            self._count, self._told = 0, now


class LineBudget:
    """Allows each client a number of log lines per minute, and counts the others.

    Args:
        summary: counts the lines that are not written.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, summary: Summary, clock: Callable[[], float] = time.monotonic) -> None:
        self._summary = summary
        self._buckets = Buckets(clock)

    def allows(self, client: str) -> bool:
        """Decide whether a line about a client may be written now.

        Args:
            client: the client's name.

        Returns:
            Whether to write it; if not, it was counted.
        """
        if not self._buckets.take(client, LINES_PER_MINUTE):
            return True
        self._summary.count()
        return False
