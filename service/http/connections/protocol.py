"""HTTP connections that end when their client does not do its part.

Uvicorn bounds how long a connection may rest between two requests. This module also bounds how long
a request's head may take and how slowly an answer may be read, and refuses doubtful heads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from service.access.caller import client_name
from service.http.connections.crowd import Crowd
from service.http.connections.framing import HEAD_BYTES, StrictConnection
from service.http.connections.reading_pace import ReadingPace
from service.http.line_budget import Summary

log = logging.getLogger(__name__)
# Uvicorn's warnings are a line for each request that a client got wrong; its errors are ours.
_server_log = logging.getLogger("uvicorn.error.connection")
_server_log.setLevel(logging.ERROR)

_LINGER_SECONDS = 1.0  # a client that still writes gets this long to read why it was refused
_UNREAD_SECONDS = 5.0  # and this long to finish a body that we do not need
_GATHERED = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may cost.

    Attributes:
        head_seconds: longest a request's head may take to arrive.
        write_seconds: longest an answer may wait for its client to read on.
    """

    head_seconds: float
    write_seconds: float


class Connection(H11Protocol):
    """One client's connection.

    Args:
        limits: what it may cost.
        crowd: all connections of this server.
        malformed: counts what is no HTTP.
        uvicorn: Uvicorn's own arguments.
    """

    def __init__(
        self, limits: ConnectionLimits, crowd: Crowd, malformed: Summary, **uvicorn: Any
    ) -> None:
        super().__init__(**uvicorn)
        self.conn = StrictConnection(h11.SERVER, HEAD_BYTES)
        self.logger = _server_log
        self._limits = limits
        self._crowd = crowd
        self._malformed = malformed
        self.idle_since = time.monotonic()
        self.client_name = ""
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused = False

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in Uvicorn
        """Start to wait for a request."""
        gathering = _Gathering(transport, self.loop, self._close)
        super().connection_made(cast("asyncio.Transport", gathering))
        self.client_name = client_name(None, self.client[0] if self.client else "")
        if not self._crowd.admit(self):
            transport.abort()
            return
        pace = ReadingPace(self._limits.write_seconds, self.loop, gathering.taken, transport.abort)
        self._pace = pace
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._crowd.leave(self)
        self._stop(self._head_timer)
        self._pace.close()
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
        self._pace.pause()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._pace.resume()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, a doubtful head, or one that is too large."""
        self._malformed.count()
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

    def end(self) -> None:
        """Make room for another connection."""
        self.transport.abort()

    def _close(self, transport: asyncio.Transport) -> None:
        """End the connection, but first let the client finish a body that we do not need.

        Closing while bytes arrive resets the connection, and the client may lose our answer.
        """
        if self._refused or self.conn.their_state is not h11.SEND_BODY:
            transport.close()
            return
        self._refused = True
        transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_UNREAD_SECONDS, transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked."""

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class _Gathering:
    """A transport that sends what is written in one turn of the loop at once.

    Uvicorn writes an answer's head and its body apart, and each would be a call of the system and a
    packet of its own.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        close: Callable[[asyncio.Transport], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._close = close
        self._written: list[bytes] = []
        self._gathered = 0
        self._sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)
        self._gathered += len(data)
        if self._gathered >= _GATHERED:  # so that the writer notices a client that does not read
            self._flush()

    def taken(self) -> int:
        """How many bytes the client has taken so far, or the system for it."""
        return self._sent - self._transport.get_write_buffer_size()

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._close(self._transport)

    def _flush(self) -> None:
        written, self._written = self._written, []
        self._sent += self._gathered
        self._gathered = 0
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
