"""What every request gets: an id, a size limit, a line in the log, a count."""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import quote

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded
from service.metrics import Metrics
from service.routes.problems import answer_error

log = logging.getLogger("service.requests")

HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ALWAYS_ADMITTED = frozenset({"/livez", "/readyz", "/metrics"})
_NO_ROUTE = "unknown"  # one label for all paths nobody serves, however many are tried


class RequestContext:
    """ASGI middleware around the whole app.

    Args:
        app: what answers.
        max_bytes: largest request body.
        max_requests: requests answered at the same time, probes and metrics apart; together the
            two bound what uploads take of memory and disk.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_requests: int, metrics: Metrics) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_requests = max_requests
        self._metrics = metrics
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get(HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        self._running += 1
        try:
            self._admit(scope["path"])
            await self._app(scope, _limited(receive, scope, self._max_bytes), answer.send)
        except Exception as error:
            if answer.status:  # too late for a problem body: the connection has to break
                raise
            await answer_error(Request(scope), error)(scope, receive, answer.send)
        finally:
            self._running -= 1
            self._report(scope, answer.status, request_id, time.perf_counter() - start)

    def _admit(self, path: str) -> None:
        if self._running > self._max_requests and path not in _ALWAYS_ADMITTED:
            raise Overloaded(f"{self._max_requests} requests are being answered already")

    def _report(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        method, route = scope["method"], _route(scope)
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)
        path = scope["path"]
        # Probes come every few seconds: they are worth a line only when they fail.
        level = logging.DEBUG if path in _ALWAYS_ADMITTED and status < 400 else logging.INFO
        log.log(
            level, "%s %s %d %.1f ms %s", method, quote(path), status, seconds * 1e3, request_id
        )


class _Answer:
    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        await self._send(message)


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", _NO_ROUTE)).replace(":path}", "}")


def _limited(receive: Receive, scope: Scope, max_bytes: int) -> Receive:
    announced = Headers(scope=scope).get("Content-Length", "")
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > max_bytes or (announced.isdecimal() and int(announced) > max_bytes):
            await _discard(receive, message, max_bytes)
            raise HTTPException(413, f"the request body exceeds {max_bytes:,} bytes")
        return message

    return limited


async def _discard(receive: Receive, message: Message, max_bytes: int) -> None:
    # A client that only writes would meet a reset connection instead of our answer, so what is
    # under way is read and thrown away, within bounds.
    discarded = 0
    while message.get("more_body") and discarded <= max_bytes:
        message = await receive()
        discarded += len(message.get("body", b""))
