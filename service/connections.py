"""HTTP connections that end when their client does not do its part.

Uvicorn bounds how long a connection may rest between two requests. Here it is also bounded how
long a request's head may take, how long an answer may wait to be read, and how many connections
there are: whoever has been idle longest makes room for a newcomer, so a flood of silent
connections keeps nobody out.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

_MADE_ROOM = 16  # connections ended at once, so that a flood does not mean a search each
_LINGER_SECONDS = 1.0  # a client that still writes gets this long to read why it was refused


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may cost.

    Attributes:
        connections: most of them; must exceed the requests that are answered at the same time.
        head_seconds: longest a request's head may take to arrive.
        write_seconds: longest an answer may wait for its client to read on.
    """

    connections: int
    head_seconds: float
    write_seconds: float


class Connection(H11Protocol):
    """One client's connection.

    Args:
        limits: what it may cost.
        uvicorn: Uvicorn's own arguments.
    """

    def __init__(self, limits: ConnectionLimits, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self.idle_since = time.monotonic()
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._refused = False

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in Uvicorn
        """Start to wait for a request."""
        self._make_room()
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop(self._head_timer)
        self._stop(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; from the first on, the rest of its head is waited for."""
        if self._refused:
            return
        super().data_received(data)
        if self.idle:
            self._wait_for_head()
        else:
            self._stop(self._head_timer)
            self._head_timer = None

    def on_response_complete(self) -> None:
        """Rest until the next request, whose first bytes may be here already."""
        self.idle_since = time.monotonic()
        super().on_response_complete()
        if self.idle and self.conn.trailing_data[0]:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """Wait for a client that does not read."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read on."""
        self._stop(self._write_timer)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or a head that is too large."""
        error = sys.exception()  # Uvicorn calls this while it handles it
        if isinstance(error, h11.RemoteProtocolError):
            self._refuse(error.error_status_hint, str(error))
        else:
            self._refuse(400, msg)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            seconds = self._limits.head_seconds
            self._head_timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._refuse(408, f"no request came within {self._limits.head_seconds:g} s")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer without the app, which has no request to answer; then end the connection."""
        if self.transport.is_closing():
            return
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # an answer has begun
            self.transport.close()
            return
        self._refused = True
        if not self.idle:  # what the app may still have to say goes nowhere
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_problem(status, detail))
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _make_room(self) -> None:
        if len(self.connections) < self._limits.connections:
            return
        idle = [peer for peer in self.connections if isinstance(peer, Connection) and peer.idle]
        for peer in heapq.nsmallest(_MADE_ROOM, idle, key=lambda peer: peer.idle_since):
            peer.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class _Gathering:
    """A transport that sends what is written in one turn of the loop at once.

    Uvicorn writes an answer's head and its body apart, and each would be a call of the system and a
    packet of its own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        written, self._written = self._written, []
        if written:
            self._transport.write(b"".join(written))


def _problem(status: int, detail: str) -> bytes:
    phrase = HTTPStatus(status).phrase
    code = phrase.lower().replace(" ", "_")
    body = json.dumps(
        {
            "type": f"urn:hhcl-reid:problem:{code}",
            "title": phrase,
            "status": status,
            "detail": detail,
            "code": code,
        }
    ).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
