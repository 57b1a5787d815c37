"""A request's body as it arrives, limited in size and time; notices when the client disconnects."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from service.values.fields import OPENS_A_VALUE

_OPENS_A_VALUE = OPENS_A_VALUE.encode()
_SLOWEST = 500.0  # bytes per second, on average; slower clients would keep a place too long


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
        max_bytes: its size.
        idle_seconds: how long its client may send nothing.
        max_values: how many values its JSON may hold; None for other bodies.
    """

    max_bytes: int
    idle_seconds: float
    max_values: int | None = None


def is_form(scope: Scope) -> bool:
    """Whether a request declares its body as a form, which may carry files."""
    kind = Headers(scope=scope).get("Content-Type", "").partition(";")[0]
    return kind.strip().lower() == "multipart/form-data"


class Incoming:
    """The body of one request; :meth:`receive` replaces the server's own.

    Args:
        receive: the server's.
        scope: the request's.
        limits: what the body may cost.
        answered: whether the answer has begun; from then on a disconnect no longer matters.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        receive: Receive,
        scope: Scope,
        limits: BodyLimits,
        *,
        answered: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._answered = answered
        self._clock = clock
        announced = Headers(scope=scope).get("Content-Length", "")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._read = 0
        self._values = 0
        self._waited = 0.0
        self._waiting_since: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._lost_its_place = False
        self._end: asyncio.Task[Message] | None = None
        self.disconnect: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def waited_seconds(self) -> float:
        """How long we have waited for the client so far; 0 if we do not wait for it now."""
        since = self._waiting_since
        return 0.0 if since is None else self._waited + self._clock() - since

    @property
    def rate(self) -> float:
        """Bytes of the body per second of that wait; infinite before the first wait."""
        waited = self.waited_seconds
        return self._read / waited if waited > 0 else math.inf

    def give_up(self) -> None:
        """Answer 408 from now on, because another request needs the place."""
        self._lost_its_place = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Stop watching for the client's disconnect."""
        if self._end is not None:
            self._end.cancel()

    async def receive(self) -> Message:
        """Return the server's next ASGI message.

        Raises:
            HTTPException: 413 if the body is too large, 408 if it does not arrive in time.
        """
        if self._end is not None:
            return await asyncio.shield(self._end)
        message = await self._in_time()
        limit = self._limits.max_bytes
        if self._read > limit or self._announced > limit:
            raise HTTPException(413, f"the request body exceeds {limit:,} bytes")
        self._count_values(message.get("body", b""))
        if message["type"] == "http.request" and not message.get("more_body"):
            self._end = asyncio.create_task(self._await_disconnect())
        return message

    def _count_values(self, piece: bytes) -> None:
        """Reject JSON that costs far more to parse and to validate than its size suggests."""
        most = self._limits.max_values
        if most is None:
            return
        self._values += len(piece) - len(piece.translate(None, _OPENS_A_VALUE))
        if self._values > most:
            raise HTTPException(413, f"the request body holds more than {most:,} values")

    async def _in_time(self) -> Message:
        allowed = self._limits.idle_seconds
        allowed = min(allowed, allowed + self._read / _SLOWEST - self._waited)
        since = self._waiting_since = self._clock()
        try:
            async with asyncio.timeout(allowed) as self._patience:
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            self._waited += self._clock() - since
            self._waiting_since = self._patience = None
        if self._lost_its_place:  # the last bytes arrived just as the place was taken away
            raise self._too_slow()
        self._read += len(message.get("body", b""))
        if message["type"] == "http.disconnect":
            self._note_disconnect()
        return message

    def _too_slow(self) -> HTTPException:
        came = f"{self._read:,} bytes of the request body arrived in {self._waited:.1f} s"
        if self._lost_its_place:
            detail = f"{came}: too slow to keep a place that another request needs"
        else:
            detail = (
                f"{came}, and then nothing for {self._limits.idle_seconds:g} s, or less than "
                f"{_SLOWEST:g} bytes per second"
            )
        return HTTPException(408, detail, {"Connection": "close"})

    async def _await_disconnect(self) -> Message:
        message = await self._receive()
        self._note_disconnect()
        return message

    def _note_disconnect(self) -> None:
        if not self._answered() and not self.disconnect.done():
            self.disconnect.set_result(None)
