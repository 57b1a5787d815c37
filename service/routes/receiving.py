"""A request's body as it arrives: bounded in size and in time, and given up when its client is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

_SLOWEST = 500.0  # bytes a second a body has to average; slower clients hold on to a place
_DISCARDED = 64 << 20  # most bytes read of a body that is refused


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
        max_bytes: its size.
        idle_seconds: longest its client may send nothing.
    """

    max_bytes: int
    idle_seconds: float


class Incoming:
    """The body of one request; :meth:`receive` takes the place of the server's own.

    Args:
        receive: the server's.
        scope: the request's.
        limits: what the body may cost.
        answered: whether the answer has begun, from when on it no longer matters who leaves.
    """

    def __init__(
        self, receive: Receive, scope: Scope, limits: BodyLimits, answered: Callable[[], bool]
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._answered = answered
        announced = Headers(scope=scope).get("Content-Length", "")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._read = 0
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._end: asyncio.Task[Message] | None = None
        self.departure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def silent_seconds(self) -> float:
        """How long the client has sent nothing while we wait for more; 0 where we do not."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def give_up(self) -> None:
        """Answer 408 now, because somebody else needs the place."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Stop to watch whether the client leaves."""
        if self._end is not None:
            self._end.cancel()

    async def receive(self) -> Message:
        """The next message of the server, as ASGI has it.

        Raises:
            HTTPException: 413 for a body that is too large, 408 for one that does not come.
        """
        if self._end is not None:
            return await asyncio.shield(self._end)
        message = await self._in_time()
        limit = self._limits.max_bytes
        if self._read > limit or self._announced > limit:
            await self._discard(message)
            raise HTTPException(413, f"the request body exceeds {limit:,} bytes")
        if message["type"] == "http.request" and not message.get("more_body"):
            self._end = asyncio.create_task(self._await_departure())
        return message

    async def _in_time(self) -> Message:
        allowed = self._limits.idle_seconds
        allowed = min(allowed, allowed + self._read / _SLOWEST - self._waited)
        self._waiting_since = time.monotonic()
        try:
            async with asyncio.timeout(allowed) as self._patience:
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"{self._read:,} bytes of the request body came, and then nothing for "
                f"{self.silent_seconds:.1f} s, or less than {_SLOWEST:g} bytes a second",
                {"Connection": "close"},
            ) from None
        finally:
            self._waited += self.silent_seconds
            self._waiting_since = self._patience = None
        self._read += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            self._note_departure()
        return message

    async def _discard(self, message: Message) -> None:
        # A client that only writes would meet a reset connection instead of our answer, so what is
        # under way is read and thrown away, within bounds.
        most = self._read + min(self._limits.max_bytes, _DISCARDED)
        while message.get("more_body") and self._read <= most:
            message = await self._in_time()

    async def _await_departure(self) -> Message:
        message = await self._receive()
        self._note_departure()
        return message

    def _note_departure(self) -> None:
        if not self._answered() and not self.departure.done():
            self.departure.set_result(None)
