"""``/galleries/{gallery}/events``: what watches have seen."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.access.caller import Caller
from service.alerts.alerts import number_of
from service.alerts.event import EventFilter
from service.api.events import EventFields, EventQuery, Events
from service.errors import (
    Conflict,
    NotFound,
    Overloaded,
    StorageFull,
    TooManyRequests,
    Unavailable,
)
from service.http.answers import json_answer
from service.http.dependencies import AuditOf, CallerOf, ClientOf, PartsOf
from service.http.event_stream import HEADERS, MEDIA_TYPE, EventStream
from service.http.problems import responses
from service.http.records import event_page
from service.values.fields import Cursor

router = APIRouter(prefix="/galleries/{gallery}/events", tags=["alerts"])


@dataclass(frozen=True, slots=True)
class Listening:
    """Who listens to what."""

    parts: PartsOf
    caller: CallerOf
    client: ClientOf


@router.get("", response_model=Events, responses=responses(NotFound, Unavailable))
async def list_events(
    gallery: str,
    query: Annotated[EventQuery, Query()],
    parts: PartsOf,
    caller: CallerOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """List events, newest first, one page at a time.

    An event is stored within moments of its crop. Events stored after the first page was read do
    not appear on later pages.
    """
    where = _filter(gallery, caller, query, query)

    def listed() -> Events:
        parts.store.open(gallery)
        page = parts.alerts.page(where, query.limit, query.cursor)
        audit.crops = len(page.events)
        return event_page(page)

    return await json_answer(parts.executors.reads.of(client), listed)


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {}}, "description": "server-sent events, each with JSON"},
        **responses(NotFound, TooManyRequests, Overloaded, Unavailable),
    },
)
async def stream_events(
    gallery: str,
    query: Annotated[EventFields, Query()],
    request: Request,
    listening: Annotated[Listening, Depends()],
    last_event_id: Annotated[Cursor | None, Header()] = None,
) -> Response:
    """Send events as they are stored, from now on or after the header `Last-Event-ID`.

    The stream ends after a minute, and clients connect again with the last `id` they got.
    """
    parts = listening.parts
    threads = parts.executors.reads.of(listening.client)
    await threads.run(parts.store.open, gallery)
    if last_event_id is None:
        after = await threads.run(parts.alerts.table.latest_number)
    else:
        after = number_of(last_event_id)
    where = _filter(gallery, listening.caller, query)
    only_head = request.method == "HEAD"
    stream = EventStream(
        parts.alerts, where, threads, lambda: only_head or parts.lifecycle.phase != "ready"
    )
    return StreamingResponse(stream.pieces(after), media_type=MEDIA_TYPE, headers=HEADERS)


@router.post(
    "/{event_id}/deliver",
    status_code=202,
    responses=responses(NotFound, Conflict, StorageFull, Unavailable),
)
async def deliver_event(gallery: str, event_id: str, parts: PartsOf, caller: CallerOf) -> None:
    """Deliver an event again, such as one whose delivery has failed."""
    deliver = partial(parts.alerts.deliver_again, gallery, event_id, caller.galleries)
    await parts.executors.bookkeeping.run(deliver)


def _filter(
    gallery: str, caller: Caller, fields: EventFields, times: EventQuery | None = None
) -> EventFilter:
    return EventFilter(
        gallery=gallery,
        visible=caller.galleries,
        watch_id=fields.watch_id,
        cameras=None if fields.cameras is None else frozenset(fields.cameras),
        since=None if times is None else times.since,
        until=None if times is None else times.until,
        delivery=None if times is None else times.delivery,
    )
