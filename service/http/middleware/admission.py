"""Give each allowed request a place, or reject it if no place is free."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.caller import NOBODY
from service.http.middleware.body import is_form
from service.http.places import Place, Places, share_of
from service.settings import Settings
from service.wiring import Parts

_WITHOUT_PLACE = frozenset({"/livez", "/readyz"})  # cheap, and must answer under any load
_METRICS = "/metrics"
_FRAMES = "/detect"
_SCRAPERS = 32
_STREAM = "/events/stream"
_STREAMS = 64  # they stay open, so they would leave no places to others


class Admission:
    """ASGI middleware between the check of the key and the routes.

    A request takes a place only after its key was checked, so clients without a key cannot lock out
    those with one. While keys exist, requests without one share a few places of their own, for the
    page and the documentation. Streams of events have places of their own, too.

    Args:
        app: answers the requests that have a place.
        settings: say how many places there are, and how many one client may hold.
        parts: say whether uploads would have to wait too long.
    """

    def __init__(self, app: ASGIApp, settings: Settings, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        share = settings.places_per_client
        self._known = Places(settings.max_requests, share)
        self._keyless = Places(share, share_of(share))
        self._scrapers = Places(_SCRAPERS, share_of(_SCRAPERS))
        self._streams = Places(_STREAMS, share_of(_STREAMS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            TooManyRequests: the client has used up its share of the places.
            Overloaded: no place is free, or the network's queue is too long.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        place = self._enter(scope)
        scope["state"]["admitted"] = (
            True  # from here on a failure is one of a request that was begun
        )
        if place is None:
            await self._app(scope, receive, send)
            return

        async def send_and_leave(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                place.release()  # now: the client may send the next request before this task ends

        try:
            await self._app(scope, receive, send_and_leave)
        finally:
            place.release()

    def _enter(self, scope: Scope) -> Place | None:
        state = scope["state"]
        if "client" not in state or scope["path"] in _WITHOUT_PLACE:
            return None  # a probe, or no route answers it, so it costs next to nothing
        if is_form(scope):
            self._admit_upload(scope["path"])  # parsing a form costs more than rejecting it
        return self._places_for(scope).take(state["client"], state["incoming"])

    def _admit_upload(self, path: str) -> None:
        if path == _FRAMES:  # the detector has a queue of its own
            self._parts.detection.admit()
        else:
            self._parts.admit_upload()

    def _places_for(self, scope: Scope) -> Places:
        if scope["path"] == _METRICS:
            return self._scrapers
        if scope["path"].endswith(_STREAM) and scope["method"] == "GET":
            return self._streams
        return self._keyless if scope["state"]["caller"] is NOBODY else self._known
