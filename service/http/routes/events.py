"""``/galleries/{gallery}/events``: what watches have seen."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.access.caller import Caller
from service.alerts.event import EventFilter
from service.api.events import EventFields, EventQuery, Events
from service.errors import Conflict, NotFound, StorageFull, Unavailable
from service.http.answers import json_answer
from service.http.dependencies import AuditOf, CallerOf, ClientOf, PartsOf
from service.http.problems import responses
from service.http.records import event_page

router = APIRouter(prefix="/galleries/{gallery}/events", tags=["alerts"])


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
