"""Check the key and the rule of each request before its body is read; write the audit log.

The middleware matches the route itself, before the router does. An ``APIRoute`` subclass could ask
the same table without matching twice, but it would not cover mounts (``/web``, ``/docs/assets``),
every router would have to name it, and places (:mod:`service.http.middleware.admission`) would have
to be taken inside the routes too, since a place is taken after the key was checked and before the
body is read: more code, and a guarantee that a new router can forget.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.caller import EVERYONE, NOBODY, Caller, client_name
from service.access.entry import AuditEntry
from service.access.gate import Gate
from service.access.rules import RULES, Rule
from service.errors import Forbidden, ReidError, Unauthorized, Unavailable, disk_error
from service.http.audit_note import AuditNote
from service.http.middleware.origins import Origins
from service.http.route_table import flat, require_rules, row_of
from service.machine.disk_reserve import ReserveUse
from service.settings import Settings


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
        app: answers the requests that are allowed.
        gate: knows the keys.
        routes: every route of the app, in its order.
        origins: decides which web pages may call the service.
        audit_required: reject requests whose answers describe people while the audit log accepts no
            entries.
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
        """Answer one request.

        Raises:
            ReidError: the request is not allowed.
        """
        visit = self._visit(scope) if scope["type"] == "http" else None
        if visit is None:  # 404 and 405 reveal nothing that /openapi.json does not
            await self._app(scope, receive, send)
            return
        scope["route"] = visit.matched  # rejected requests are counted per route, too
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
        # The route of GET answers HEAD, under the rule of GET.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        for route in self._routes:
            match, found = route.matches(asked)
            if match is not Match.FULL:
                continue
            method, path = row_of(route, scope["method"])
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
            raise Unauthorized("this request needs a key: Authorization: Bearer KEY")
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
            return NOBODY  # probes answer even if the keys cannot be read

    async def _answer(self, visit: _Visit, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        withheld: OSError | None = None  # why the answer is not sent
        kind = visit.rule.audit

        async def send_logged(message: Message) -> None:
            nonlocal status, withheld
            if message["type"] == "http.response.start":
                status = message["status"]
                failure = await self._log(visit, status) if kind != "none" else None
                # A change has been made by now, so its answer is sent in any case.
                if failure is not None and kind == "read" and kind in self._logged_first:
                    withheld = failure
            if withheld is not None:
                raise withheld
            await send(message)

        try:
            await self._app(scope, receive, send_logged)
        except Exception:
            # The frameworks wrap what `send_logged` raises.
            if withheld is None:
                raise
            raise disk_error("the audit log accepts no entries", withheld) from withheld
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
        """Write an audit entry; returns the error if it failed, which the log has reported."""
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
        # Only real erasures and revocations may use the disk space reserved for them.
        share: ReserveUse = visit.rule.share if made and note.crops != 0 else "none"
        try:
            await asyncio.wrap_future(self._gate.audit.write(entry, durable=made, share=share))
        except OSError as error:
            return error
        return None


def guard(app: FastAPI, gate: Gate, settings: Settings) -> None:
    """Add the middleware to an app whose routes are complete.

    Args:
        app: the application.
        gate: knows the keys.
        settings: every setting.

    Raises:
        RuntimeError: a route has no row in the table of rules; the message names it.
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


def _target(path_params: Mapping[str, str]) -> str | None:
    named = (
        path_params.get(name)
        for name in ("key_id", "snapshot_id", "job_id", "watch_id", "event_id", "sha256")
    )
    return next((text for text in named if text is not None), None)


def _bearer(header: str) -> str | None:
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
