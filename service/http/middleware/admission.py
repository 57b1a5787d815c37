"""Gives every request that may be answered a place, or refuses it for want of one."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.caller import NOBODY
from service.http.middleware.body import is_form
from service.http.places import Place, Places, share_of
from service.settings import Settings
from service.wiring import Parts

_WITHOUT_PLACE = frozenset({"/livez", "/readyz"})  # whoever asks too often asks nothing of them
_METRICS = "/metrics"
_SCRAPERS = 32


class Admission:
    """ASGI middleware between the check of the key and the routes.

    A request takes a place only after its key was checked, so nobody without a key can keep out
    somebody who has one. Requests without a key, while keys exist, have a few places of their own:
    they read the page and the documentation.

    Args:
        app: what answers those who have a place.
        settings: how many places there are, and how many of them one client may hold.
        parts: tell whether uploads would have to wait too long.
    """

    def __init__(self, app: ASGIApp, settings: Settings, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        share = settings.places_per_client
        self._known = Places(settings.max_requests, share)
        self._strangers = Places(share, share_of(share))
        self._scrapers = Places(_SCRAPERS, share_of(_SCRAPERS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request, or raise why there is no place for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        place = self._enter(scope)
        scope["state"]["admitted"] = True  # what goes wrong from here on was begun
        if place is None:
            await self._app(scope, receive, send)
            return

        async def send_and_leave(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                place.release()  # now: the client may ask again before our task ends

        try:
            await self._app(scope, receive, send_and_leave)
        finally:
            place.release()

    def _enter(self, scope: Scope) -> Place | None:
        state = scope["state"]
        if "client" not in state or scope["path"] in _WITHOUT_PLACE:
            return None  # no route answers it, so it costs next to nothing; or it is a probe
        if is_form(scope):
            self._parts.admit_upload()  # parsing a form costs more than refusing it
        return self._places_for(scope).take(state["client"], state["incoming"])

    def _places_for(self, scope: Scope) -> Places:
        if scope["path"] == _METRICS:
            return self._scrapers
        return self._strangers if scope["state"]["caller"] is NOBODY else self._known
