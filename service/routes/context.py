"""What every request gets: an id, limits, a line in the log, a count."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.departure import announce
from service.errors import Overloaded
from service.parts import Parts
from service.routes.problems import answer_error
from service.routes.receiving import BodyLimits, Incoming
from service.settings import Settings

log = logging.getLogger("service.requests")

HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ALWAYS_ADMITTED = frozenset({"/livez", "/readyz", "/metrics"})
_NO_ROUTE = "unknown"  # one label for all paths nobody serves, however many are tried


_IMPORT = re.compile(r"/galleries/[^/]+/imports")
_UPLOAD = "multipart/form-data"
_SECOND = 1.0
_PATIENCE = 1.0  # seconds a client may be silent before its place can go to another
_CLIENT_LEFT = 499  # nginx's word for it; appears in log and metrics, and is sent to nobody


class RequestContext:
    """ASGI middleware around the whole app.

    Args:
        app: what answers.
        settings: the limits. Size and number of requests together bound what uploads take of
            memory and disk; probes and metrics are answered however many there are.
        parts: count requests, and tell whether uploads would have to wait too long.
    """

    def __init__(self, app: ASGIApp, settings: Settings, parts: Parts) -> None:
        self._app = app
        self._settings = settings
        self._parts = parts
        self._running: set[Incoming] = set()
        self._refusals = _Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get(HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id, lambda: self._running.discard(incoming))
        incoming = Incoming(receive, scope, self._body_limits(scope), lambda: answer.status > 0)
        announce(incoming.departure)
        try:
            self._admit(scope["path"])
            if _UPLOAD in Headers(scope=scope).get("Content-Type", ""):
                self._parts.admit_upload()  # parsing a form costs more than refusing it
            self._running.add(incoming)
            await self._app(scope, incoming.receive, answer.send)
        except Exception as error:
            if answer.status:  # too late for a problem body: the connection has to break
                raise
            await answer_error(Request(scope), error)(scope, receive, answer.send)
        finally:
            self._running.discard(incoming)
            incoming.close()
            status = _CLIENT_LEFT if incoming.departure.done() else answer.status
            self._report(scope, status, request_id, time.perf_counter() - start)

    def _body_limits(self, scope: Scope) -> BodyLimits:
        settings = self._settings
        imports = scope["method"] == "POST" and _IMPORT.fullmatch(scope["path"])
        size = settings.max_import_bytes if imports else settings.max_request_bytes
        return BodyLimits(size, settings.receive_seconds)

    def _admit(self, path: str) -> None:
        most = self._settings.max_requests
        if len(self._running) < most or path in _ALWAYS_ADMITTED:
            return
        slowest = max(self._running, key=lambda incoming: incoming.silent_seconds)
        if slowest.silent_seconds < _PATIENCE:
            raise Overloaded(f"{most} requests are being answered already")
        slowest.give_up()

    def _report(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        method, route = scope["method"], _route(scope)
        self._parts.metrics.requests.labels(method, route, status).inc()
        self._parts.metrics.request_seconds.labels(method, route).observe(seconds)
        path = scope["path"]
        probe, refused = path in _ALWAYS_ADMITTED, status == Overloaded.status
        if refused and not probe:
            self._refusals.count()
        # Probes come every few seconds: they are worth a line only when they fail. Refusals come
        # when there is no time to write a line each.
        level = (
            logging.DEBUG if (probe and status < 400) or (refused and not probe) else logging.INFO
        )
        # The route, not the path: a crop's id may name a person, and logs outlive erasures.
        shown = quote(path) if route == _NO_ROUTE else route
        log.log(level, "%s %s %d %.1f ms %s", method, shown, status, seconds * 1e3, request_id)


class _Refusals:
    """Tells the log of refused requests, once a second at most."""

    def __init__(self) -> None:
        self._count = 0
        self._told = -_SECOND

    def count(self) -> None:
        """Add one."""
        self._count += 1
        now = time.monotonic()
        if now - self._told >= _SECOND:
            log.warning("%d requests refused with 503 since the last line like this", self._count)
            self._count, self._told = 0, now


class _Answer:
    def __init__(self, send: Send, request_id: str, ended: Callable[[], object]) -> None:
        self._send = send
        self._request_id = request_id
        self._ended = ended
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._ended()  # now: the client may send its next request before our task ends


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", _NO_ROUTE)).replace(":path}", "}")
