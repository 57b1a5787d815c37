"""``/galleries/{gallery}/watches``: whom to look for among new crops."""

from fastapi import APIRouter, Response

from service.access.caller import Caller
from service.alerts.table import unknown_watch
from service.alerts.watch import DailyWindow, Watch, WatchOrder
from service.api.watches import CreatedWatch, WatchBody, Watches, WatchRecord
from service.errors import (
    Conflict,
    ModelMismatch,
    NotFound,
    StorageFull,
    Unavailable,
)
from service.gallery.base import Filter
from service.gallery.filter_warnings import FilterWarning, warnings_of
from service.gallery.time_warnings import time_warnings
from service.http.dependencies import AuditOf, CallerOf, PartsOf
from service.http.problems import responses
from service.http.records import warning_records, watch_record
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/watches", tags=["alerts"])

_CREATE_ERRORS = (NotFound, Conflict, ModelMismatch, StorageFull, Unavailable)


@router.post("", status_code=201, responses=responses(*_CREATE_ERRORS))
async def create_watch(
    gallery: str,
    body: WatchBody,
    parts: PartsOf,
    caller: CallerOf,
    audit: AuditOf,
    response: Response,
) -> CreatedWatch:
    """Watch the crops that are added from now on, and make an event of each match.

    Only this answer contains the secret that signs deliveries. New crops are judged by their
    pictures alone, whatever identity they come with.
    """
    order = _order(gallery, body)
    caller.require_gallery(order.of)
    watch, least = await parts.executors.writes.run(parts.alerts.create, order)
    audit.target = watch.watch_id
    response.headers["Location"] = f"/galleries/{gallery}/watches/{watch.watch_id}"
    warnings = await parts.executors.reads.run(_warnings, parts, body, order)
    return CreatedWatch(
        **watch_record(watch).model_dump(),
        threshold=least,
        secret=watch.secret,
        warnings=warning_records(warnings),
    )


@router.get("", responses=responses(NotFound, Unavailable))
async def list_watches(gallery: str, parts: PartsOf, caller: CallerOf) -> Watches:
    """List the watches of a gallery, oldest first."""
    await parts.executors.reads.run(parts.store.open, gallery)
    found = await parts.executors.bookkeeping.run(parts.alerts.watches, gallery)
    seen = [watch_record(watch) for watch in found if caller.sees(watch.order.of)]
    return Watches(watches=seen)


@router.get("/{watch_id}", responses=responses(NotFound, Unavailable))
async def get_watch(gallery: str, watch_id: str, parts: PartsOf, caller: CallerOf) -> WatchRecord:
    """Return one watch."""
    return watch_record(await _watch(parts, caller, gallery, watch_id))


@router.delete(
    "/{watch_id}", status_code=204, responses=responses(NotFound, StorageFull, Unavailable)
)
async def delete_watch(gallery: str, watch_id: str, parts: PartsOf, caller: CallerOf) -> None:
    """Delete a watch. Its events stay; those that wait for delivery are not delivered."""
    await _watch(parts, caller, gallery, watch_id)
    delete = parts.alerts.table.delete_watch
    await parts.executors.bookkeeping.run(delete, gallery, watch_id)


async def _watch(parts: Parts, caller: Caller, gallery: str, watch_id: str) -> Watch:
    """Find a watch about people whom the caller may see; others are reported as unknown."""
    watch = await parts.executors.bookkeeping.run(parts.alerts.watch, gallery, watch_id)
    if not caller.sees(watch.order.of):
        raise unknown_watch(watch_id)
    return watch


def _order(gallery: str, body: WatchBody) -> WatchOrder:
    daily = None
    if body.daily_from is not None and body.daily_until is not None:
        window = (_minute(body.daily_from), _minute(body.daily_until))
        daily = DailyWindow(*window, body.zone or "Z")
    return WatchOrder(
        gallery=gallery,
        of=body.of or gallery,
        watch_for=body.watch_for,
        name=body.name,
        identities=tuple(body.identities or ()),
        crop_ids=tuple(body.crop_ids or ()),
        cameras=None if body.cameras is None else tuple(body.cameras),
        since=None if body.since is None else body.since.seconds,
        until=None if body.until is None else body.until.seconds,
        daily=daily,
        min_score=body.min_score,
        false_alert_rate=body.false_alert_rate,
        quiet_seconds=body.quiet_seconds,
        deliver_to=body.deliver_to,
    )


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return 60 * int(hour) + int(minute)


def _warnings(parts: Parts, body: WatchBody, order: WatchOrder) -> list[FilterWarning]:
    """What looks wrong with the people, the cameras and the times."""
    people = Filter(
        identities=frozenset(order.identities) or None, crop_ids=frozenset(order.crop_ids) or None
    )
    cameras = Filter(cameras=None if order.cameras is None else frozenset(order.cameras))
    return [
        *warnings_of(parts.store.open(order.of), people),
        *warnings_of(parts.store.open(order.gallery), cameras),
        *time_warnings({"since": body.since, "until": body.until}),
    ]
