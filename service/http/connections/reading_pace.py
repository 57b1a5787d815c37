"""How slowly a client may read an answer before its connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLOWEST = 32 * 1024.0  # bytes a second, on average over the time that we wait for the client


class ReadingPace:
    """Ends a connection whose client reads too slowly.

    Time counts only while an answer waits for its client. Whenever such waits have added up to
    ``seconds``, the client must have taken ``seconds * SLOWEST`` bytes in the meantime. So a client
    that reads a byte now and then does not hold an answer in memory.

    Args:
        seconds: how much waiting is judged at a time.
        loop: runs the timer.
        taken: how many bytes the client has taken since it connected.
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
        """An answer waits from now on."""
        self.close()
        if not self._waited:
            self._taken_before = self._taken()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(self._seconds - self._waited, self._judge)

    def resume(self) -> None:
        """The client has read enough for the answer to go on."""
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
