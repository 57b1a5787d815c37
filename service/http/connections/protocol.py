"""HTTP connections that are closed if their client is too slow.

Uvicorn limits how long a connection may be idle between two requests. This module also limits how
long a request's head may take and how slowly an answer may be read, and rejects ambiguous heads.
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
from service.http.connections.framing import HEAD_BYTES, StrictConnection
from service.http.connections.open_connections import OpenConnections
from service.http.connections.reading_pace import ReadingPace
from service.http.line_budget import Summary

log = logging.getLogger(__name__)
# Uvicorn's warnings are about clients' mistakes, one line per request; its errors are about ours.
_server_log = logging.getLogger("uvicorn.error.connection")
_server_log.setLevel(logging.ERROR)

_LINGER_SECONDS = 1.0  # how long a rejected client that still writes may read the reason
_UNREAD_SECONDS = 5.0  # how long it may take to finish a body that we do not need
_GATHERED = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a connection may cost.

    Attributes:
        head_seconds: how long a request's head may take to arrive.
        write_seconds: how long an answer may wait for its client to continue reading.
    """

    head_seconds: float
    write_seconds: float


class Connection(H11Protocol):
    """One client's connection.

    Args:
        limits: what it may cost.
        connections: all connections of this server.
        malformed: counts requests that are not valid HTTP.
        uvicorn: Uvicorn's own arguments.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        connections: OpenConnections,
        malformed: Summary,
        **uvicorn: Any,
    ) -> None:
        super().__init__(**uvicorn)
        self.conn = StrictConnection(h11.SERVER, HEAD_BYTES)
        self.logger = _server_log
        self._limits = limits
        self._connections = connections
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
        """Start waiting for a request."""
        gathering = _Gathering(transport, self.loop, self._close)
        super().connection_made(cast("asyncio.Transport", gathering))
        self.client_name = client_name(None, self.client[0] if self.client else "")
        if not self._connections.add(self):
            transport.abort()
            return
        pace = ReadingPace(self._limits.write_seconds, self.loop, gathering.taken, transport.abort)
        self._pace = pace
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._connections.remove(self)
        self._stop(self._head_timer)
        self._pace.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read bytes of a request; the first one starts the timer for the rest of its head."""
        if self._refused:
            return
        super().data_received(data)
        if self.idle:
            self._wait_for_head()
        else:
            self._stop(self._head_timer)
            self._head_timer = None

    def on_response_complete(self) -> None:
        """Become idle until the next request, whose first bytes may have arrived already."""
        self.idle_since = time.monotonic()
        super().on_response_complete()
        if self.idle and self.conn.trailing_data[0]:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """Start timing a client that does not read."""
        super().pause_writing()
        self._pace.pause()

    def resume_writing(self) -> None:
        """Stop timing: the client reads again."""
        self._pace.resume()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Reject a request that is not HTTP, is ambiguous, or has a head that is too large."""
        self._malformed.count()
        error = sys.exception()  # Uvicorn calls this while handling it
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
        """Answer without the app, which has no request; then close the connection."""
        if self.transport.is_closing():
            return
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:  # an answer has begun
            self.transport.close()
            return
        self._refused = True
        if not self.idle:  # discard the rest of what the app sends
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_problem(status, detail))
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def abort(self) -> None:
        """Make room for another connection."""
        self.transport.abort()

    def _close(self, transport: asyncio.Transport) -> None:
        """Close the connection, but first let the client finish a body that we do not need.

        Closing while bytes arrive resets the connection, and the client may lose the answer.
        """
        if self._refused or self.conn.their_state is not h11.SEND_BODY:
            transport.close()
            return
        self._refused = True
        transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(_UNREAD_SECONDS, transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: the request is answered as if it had not asked for an upgrade."""

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class _Gathering:
    """A transport that joins everything written during one turn of the event loop.

    Uvicorn writes an answer's head and body separately, and each would need its own system call and
    packet.
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
        if self._gathered >= _GATHERED:  # so that the writer notices if the client does not read
            self._flush()

    def taken(self) -> int:
        """How many bytes the client, or the system on its behalf, has read so far."""
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
