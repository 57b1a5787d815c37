"""Asks the table of rules before a request's body is read; tells the audit log what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.caller import EVERYONE, NOBODY, Caller, client_name
from service.access.entry import AuditEntry
from service.access.gate import Gate
from service.access.key_file import Key
from service.access.rules import RULES, Rule, template
from service.errors import Forbidden, ReidError, Unauthorized, Unavailable, disk_error
from service.http.middleware.origins import Origins
from service.machine.disk_reserve import ReserveUse
from service.settings import Settings


@dataclass(slots=True)
class AuditNote:
    """What only the route knows of a request; the audit log takes it over.

    Attributes:
        gallery: which one, where the path does not say.
        target: what was acted on, where the path does not say: a key, or a restored gallery.
        key: that was made or revoked.
        crops: how many were returned or changed.
        queries: SHA-256 of each query's file, in hexadecimal.
    """

    gallery: str | None = None
    target: str | None = None
    key: Key | None = None
    crops: int | None = None
    queries: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Visit:
    matched: BaseRoute
    method: str
    route: str
    rule: Rule
    request_id: str
    address: str
    key: str | None
    note: AuditNote
    caller: Caller = NOBODY


class AccessControl:
    """ASGI middleware around the routes.

    Args:
        app: what answers those who may ask.
        gate: knows the keys.
        routes: every route of the app, in its order.
        origins: pages of which origins may call.
        audit_required: refuse what tells of persons while the audit log takes no entry.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        routes: Sequence[BaseRoute],
        origins: Origins,
        *,
        audit_required: bool,
    ) -> None:
        self._app = app
        self._gate = gate
        self._routes = list(flat(routes))
        self._origins = origins
        self._logged_first = {"change", "read"} if audit_required else {"change"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request, or raise why not."""
        visit = self._visit(scope) if scope["type"] == "http" else None
        if visit is None:  # 404 and 405 tell nothing that /openapi.json does not
            await self._app(scope, receive, send)
            return
        scope["route"] = visit.matched  # a refused request is counted under its route too
        try:
            self._admit(visit, Headers(scope=scope))
            if visit.rule.audit in self._logged_first:
                await self._gate.bookkeeping.run(self._gate.audit.require_room, visit.rule.share)
        except ReidError as error:
            await self._log_refusal(visit, error)
            raise
        scope["state"] |= {
            "caller": visit.caller,
            "client": client_name(visit.caller.key_id, visit.address),
            "rule": visit.rule,
            "audit": visit.note,
        }
        await self._answer(visit, scope, receive, send)

    def _visit(self, scope: Scope) -> _Visit | None:
        # HEAD is answered by the route of GET, and by its rule.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        for route in self._routes:
            match, found = route.matches(asked)
            if match is not Match.FULL:
                continue
            method, path = _row_of(route, scope["method"])
            client = scope.get("client")
            given = found.get("path_params", {})
            return _Visit(
                matched=route,
                method=method,
                route=path,
                rule=RULES[method, path],
                request_id=scope["state"]["request_id"],
                address=client[0] if client else "",
                key=_bearer(Headers(scope=scope).get("Authorization", "")),
                note=AuditNote(given.get("gallery"), _target(given)),
            )
        return None

    def _admit(self, visit: _Visit, headers: Headers) -> None:
        rule = visit.rule
        caller = visit.caller = self._caller(visit)
        if caller is EVERYONE:
            self._origins.check(visit.method, headers)
        if rule.scope == "open":
            return
        if caller is NOBODY:
            raise Unauthorized("this needs a key: Authorization: Bearer KEY")
        caller.require_scope(rule.scope)
        match rule.gallery:
            case "path":
                caller.require_gallery(visit.note.gallery)
            case "all":
                caller.require_every_gallery()
            case "route" | "none":
                pass

    def _caller(self, visit: _Visit) -> Caller:
        try:
            return self._gate.caller(visit.key)
        except Unauthorized as error:
            self._gate.count_refusal(visit.address, error)
            raise
        except Unavailable:
            if visit.rule.scope != "open":
                raise
            return NOBODY  # the probes answer, whatever became of the keys

    async def _answer(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        withheld: OSError | None = None  # why an answer was not sent
        kind = visit.rule.audit

        async def send_logged(message: Message) -> None:
            nonlocal status, withheld
            if message["type"] == "http.response.start":
                status = message["status"]
                failure = await self._log(visit, status) if kind != "none" else None
                # A change is made by now, so it is answered all the same.
                if failure is not None and kind == "read" and kind in self._logged_first:
                    withheld = failure
            if withheld is not None:
                raise withheld
            await send(message)

        try:
            await self._app(scope, receive, send_logged)
        except Exception:
            # What raises while it answers is wrapped on its way here.
            if withheld is None:
                raise
            raise disk_error("the audit log takes no entry", withheld) from withheld
        finally:
            if kind != "none" and not status and scope["state"].get("admitted"):
                await self._log(visit, 500)

    async def _log_refusal(self, visit: _Visit, error: ReidError) -> None:
        match error:
            case Unauthorized() if visit.key is not None:
                await self._log(visit, error.status, refused=str(error), address=visit.address)
            case Forbidden() if visit.caller.key_id is not None:
                await self._log(visit, error.status, refused=str(error))

    async def _log(
        self,
        visit: _Visit,
        status: int,
        *,
        refused: str | None = None,
        address: str | None = None,
    ) -> OSError | None:
        """Tell the audit log; returns why it took no entry, which it has reported."""
        note, made = visit.note, visit.rule.audit == "change" and status < 400
        entry = AuditEntry(
            time=time.time(),
            request_id=visit.request_id,
            key_id=visit.caller.key_id,
            method=visit.method,
            route=visit.route,
            gallery=note.gallery,
            target=note.key.key_id if note.key else note.target,
            scope=note.key.scope if note.key else None,
            galleries=note.key.bound if note.key else None,
            status=status,
            crops=note.crops,
            queries=tuple(note.queries),
            refused=refused,
            address=address,
        )
        # Only what was really erased or revoked may use the room that is kept for it.
        share: ReserveUse = visit.rule.share if made and note.crops != 0 else "none"
        try:
            await asyncio.wrap_future(self._gate.audit.write(entry, durable=made, share=share))
        except OSError as error:
            return error
        return None


def guard(app: FastAPI, gate: Gate, settings: Settings) -> None:
    """Put the middleware around an app whose routes are complete.

    Args:
        app: the application.
        gate: knows the keys.
        settings: every setting.

    Raises:
        RuntimeError: a route has no row in the table; the message names it.
    """
    require_rules(app.routes)
    origins = Origins(settings.cors_origins, beyond_loopback=settings.allow_anonymous)
    app.add_middleware(
        AccessControl,
        gate=gate,
        routes=app.routes,
        origins=origins,
        audit_required=settings.audit_required,
    )


def confirm_rule(request: Request) -> None:
    """Make sure that the route which answers is the one whose rule was asked.

    The middleware and the router match paths by the same code; should they ever come to differ,
    nothing is answered.

    Raises:
        RuntimeError: they differ.
    """
    row = _row_of(request.scope["route"], request.method)
    if RULES.get(row) is not getattr(request.state, "rule", None):
        raise RuntimeError(f"{' '.join(row)} was reached without its rule")


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Every route, those of included routers in their place.

    Args:
        routes: of an app or a router.

    Yields:
        Routes that are no router.
    """
    for route in routes:
        included = getattr(route, "original_router", None)  # FastAPI keeps included ones whole
        if included is None:
            yield route
        else:
            yield from flat(included.routes)


def require_rules(routes: Iterable[BaseRoute]) -> None:
    """Make sure that every route has its row in the table.

    Args:
        routes: of the app.

    Raises:
        RuntimeError: a route has none; the message names it.
    """
    for route in flat(routes):
        methods = getattr(route, "methods", None) or {"GET"}
        for method in methods:
            if _row_of(route, method) not in RULES:
                row = " ".join(_row_of(route, method))
                raise RuntimeError(f"{row} has no row in service/access/rules.py")


def _row_of(route: BaseRoute, method: str) -> tuple[str, str]:
    path = template(getattr(route, "path", repr(route)))
    return "GET" if isinstance(route, Mount) or method == "HEAD" else method, path


def _target(path_params: Mapping[str, str]) -> str | None:
    named = (path_params.get(name) for name in ("key_id", "snapshot_id", "job_id", "sha256"))
    return next((text for text in named if text is not None), None)


def _bearer(header: str) -> str | None:
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
