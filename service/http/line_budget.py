"""Lines of the log that clients cause: a flood of requests must not become a flood of lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from service.access.limits import Buckets

_SECOND = 1.0
LINES_PER_MINUTE = 60


class Summary:
    """Counts events that get no line of their own, and logs the count once a second at most.

    Args:
        log: where to.
        text: the line, with ``%d`` for the count.
        clock: seconds that only rise.
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
        """Add one."""
        self._count += 1
        now = self._clock()
        if now - self._told >= _SECOND:
            self._log.warning(self._text, self._count)
            self._count, self._told = 0, now


class LineBudget:
    """So many lines a minute per client; what exceeds them is counted instead.

    Args:
        summary: counts what gets no line.
        clock: seconds that only rise.
    """

    def __init__(self, summary: Summary, clock: Callable[[], float] = time.monotonic) -> None:
        self._summary = summary
        self._buckets = Buckets(clock)

    def allows(self, client: str) -> bool:
        """Whether a line about this client may be written now.

        Args:
            client: the name of the client.

        Returns:
            Whether to write it; if not, it has been counted.
        """
        if not self._buckets.take(client, LINES_PER_MINUTE):
            return True
        self._summary.count()
        return False
