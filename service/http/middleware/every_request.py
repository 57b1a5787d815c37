"""What every request gets: an id, limits for its body, a log line and a count in the metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from urllib.parse import quote

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.caller import NOBODY, client_name
from service.access.entry import is_request_id
from service.access.rules import METHODS, template
from service.errors import Overloaded
from service.http.line_budget import LineBudget, Summary
from service.http.middleware.body import BodyLimits, Incoming, is_form
from service.http.problems import answer_error
from service.machine.disconnect import set_disconnect
from service.metric_labels import CLIENT_LEFT, NO_ROUTE, OTHER
from service.settings import Settings
from service.values.fields import MAX_VALUES
from service.wiring import Parts

log = logging.getLogger("service.requests")

HEADER = "X-Request-ID"
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})
_IMPORT = re.compile(r"/galleries/[^/]+/imports")
_MAX_JSON = 1 << 20  # bytes; enough for the longest list of ids with names of usual length
_PIECE = 1 << 16  # bytes of an answer handed to the connection at once
_LONGEST_SEGMENT = 40  # characters of an unknown path's first segment that the log shows


class EveryRequest:
    """ASGI middleware around the whole app.

    Args:
        app: answers the requests.
        settings: hold the limits of a body.
        parts: hold the metrics.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, parts: Parts, clock: Callable[[], float]
    ) -> None:
        self._app = app
        self._settings = settings
        self._parts = parts
        self._clock = clock
        self._refusals = Summary(log, "%d requests rejected with 503 since the last line like this")
        unwritten = Summary(
            log, "%d requests without a line of their own since the last line like this"
        )
        self._lines = LineBudget(unwritten)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get(HEADER))
        answer = _Answer(send, request_id)
        incoming = self._incoming(scope, receive, answer)
        scope.setdefault("state", {}).update(request_id=request_id, incoming=incoming)
        set_disconnect(incoming.disconnect)
        try:
            _require_known(scope["method"])
            await self._app(scope, incoming.receive, answer.send)
        except Exception as error:
            if answer.status:  # too late for a problem body: break the connection
                raise
            await answer_error(Request(scope), error)(scope, receive, answer.send)
        finally:
            incoming.close()
            status = CLIENT_LEFT if incoming.disconnect.done() else answer.status
            self._report(scope, status, request_id, time.perf_counter() - start)

    def _incoming(self, scope: Scope, receive: Receive, answer: _Answer) -> Incoming:
        limits = _body_limits(scope, self._settings)
        return Incoming(
            receive, scope, limits, answered=lambda: answer.status > 0, clock=self._clock
        )

    def _report(self, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = _route(scope)
        self._parts.metrics.count_request(method, route, status, seconds)
        if self._is_logged(scope, status):
            # Log the route, not the path: a crop id may name a person, and logs outlive erasures.
            shown = _first_segment(scope["path"]) if route == NO_ROUTE else route
            log.info("%s %s %d %.1f ms %s", method, shown, status, seconds * 1e3, request_id)

    def _is_logged(self, scope: Scope, status: int) -> bool:
        """Whether a request is worth a line of its own."""
        if scope["path"] in _PROBES and status < 400:  # they come every few seconds
            return False
        if scope["path"] not in _PROBES and status == Overloaded.status:
            self._refusals.count()
            return False
        state = scope["state"]
        if status < 400 and state.get("caller") is not NOBODY:
            return True
        client = state.get("client") or client_name(None, (scope.get("client") or [""])[0])
        return self._lines.allows(client)


def _body_limits(scope: Scope, settings: Settings) -> BodyLimits:
    """The limits of a body: an import's, a form's with files, or JSON's."""
    seconds = settings.receive_seconds
    if scope["method"] == "POST" and _IMPORT.fullmatch(scope["path"]):
        return BodyLimits(settings.max_import_bytes, seconds)
    if is_form(scope):
        return BodyLimits(settings.max_request_bytes, seconds)
    return BodyLimits(min(_MAX_JSON, settings.max_request_bytes), seconds, MAX_VALUES)


class _Answer:
    """Sends an answer with its id, in pieces.

    The server buffers what it gets until the client reads it, and waits only between pieces. So a
    large answer is not copied as a whole, and its request keeps its place until the client has read
    nearly all of it.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) <= _PIECE:
            await self._send(message)
            return
        more = message.get("more_body", False)
        for begin in range(0, len(body), _PIECE):
            last = begin + _PIECE >= len(body)
            piece = body[begin : begin + _PIECE]
            await self._send({**message, "body": piece, "more_body": more or not last})


def _require_known(method: str) -> None:
    if method not in METHODS:
        known = ", ".join(sorted(METHODS))
        raise HTTPException(405, f"unknown method; the service knows {known}")


def _request_id(given: str | None) -> str:
    return given if given and is_request_id(given) else uuid.uuid4().hex


def _route(scope: Scope) -> str:
    return template(str(getattr(scope.get("route"), "path", NO_ROUTE)))


def _first_segment(path: str) -> str:
    """What the log shows of an unknown path: the rest of it may name a person."""
    segment, _, rest = path.removeprefix("/").partition("/")
    shown = quote(segment[:_LONGEST_SEGMENT])
    return f"/{shown}{'…' if len(segment) > _LONGEST_SEGMENT else ''}{'/…' if rest else ''}"
