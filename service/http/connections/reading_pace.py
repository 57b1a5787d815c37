"""How slowly a client may read an answer before its connection is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLOWEST = 32 * 1024.0  # bytes per second, averaged over the time that we wait for the client


class ReadingPace:
    """Closes a connection whose client reads too slowly.

    Only the time that an answer waits for its client counts. Each time these waits add up to
    ``seconds``, the client must have read ``seconds * SLOWEST`` bytes meanwhile. So a client cannot
    keep an answer in memory by reading a byte now and then.

    Args:
        seconds: how much waiting to judge at a time.
        loop: runs the timer.
        taken: returns how many bytes the client has read since it connected.
        end: closes the connection at once.
    """

    def __init__(
        self,
        seconds: float,
        loop: asyncio.AbstractEventLoop,
        taken: Callable[[], int],
        end: Callable[[], object],
    ) -> None:
        self._seconds = seconds
        self._loop = loop
        self._taken = taken
        self._end = end
        self._waited = 0.0
        self._taken_before = 0
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """Start counting: an answer waits for the client."""
        self.close()
        if not self._waited:
            self._taken_before = self._taken()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(self._seconds - self._waited, self._judge)

    def resume(self) -> None:
        """Stop counting: the client has read enough for the answer to continue."""
        self.close()
        if self._since is not None:
            self._waited = min(self._waited + self._loop.time() - self._since, self._seconds)
            self._since = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self) -> None:
        self._timer = None
        if self._taken() - self._taken_before < self._seconds * SLOWEST:
            self._end()
            return
        self._waited = 0.0
        self.pause()
