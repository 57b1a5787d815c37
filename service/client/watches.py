"""Watches and events: who is looked for, and who was seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from service.api import events, watches
from service.api.false_alerts import FalseAlerts
from service.client.call import Call, Listening, Paged, at, get, given, nothing, send_json
from service.client.fields import EventFields, FalseAlertFields, WatchFields
from service.client.routes import Group, Pages, Route, Sender, Stream
from service.values.vocabulary import WatchFor

_ALL = "/galleries/{gallery}/watches"
_ONE = "/galleries/{gallery}/watches/{watch_id}"
_EVENTS = "/galleries/{gallery}/events"


def _create(
    gallery: str, watch_for: WatchFor, **fields: Unpack[WatchFields]
) -> Call[watches.CreatedWatch]:
    """Watch the crops that are added to a gallery from now on.

    Args:
        gallery: its name.
        watch_for: whom to look for.
        fields: among whom, where and when, and how sure it must be.

    Returns:
        The watch; only this answer holds the secret that signs deliveries.
    """
    body = {"watch_for": watch_for, **given(fields)}
    return send_json("POST", at(_ALL, gallery=gallery), watches.CreatedWatch, body)


def _every(gallery: str) -> Call[watches.Watches]:
    """The watches of a gallery, oldest first."""
    return get(at(_ALL, gallery=gallery), watches.Watches)


def _get(gallery: str, watch_id: str) -> Call[watches.WatchRecord]:
    """One watch, without its secret."""
    return get(at(_ONE, gallery=gallery, watch_id=watch_id), watches.WatchRecord)


def _delete(gallery: str, watch_id: str) -> Call[None]:
    """Delete a watch; its events stay."""
    path = at(_ONE, gallery=gallery, watch_id=watch_id)
    return Call(method="DELETE", path=path, read=nothing)


def _false_alerts(gallery: str, **asked: Unpack[FalseAlertFields]) -> Call[FalseAlerts]:
    """Estimate the score from which a watch raises few false alerts.

    Args:
        gallery: its name; its tracks show how alike strangers look.
        asked: how many people are watched for, which rate to keep, which cameras are far apart.

    Returns:
        The score, and how sure it is.
    """
    return get(at("/galleries/{gallery}/false-alerts", gallery=gallery), FalseAlerts, {**asked})


def _page(
    gallery: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    **where: Unpack[EventFields],
) -> Call[events.Events]:
    """One page of a gallery's events, newest first.

    Args:
        gallery: its name.
        limit: events per page, 1..1000; 100 if absent.
        cursor: the previous page's.
        where: which events.

    Returns:
        The page.
    """
    query = {**where, "limit": limit, "cursor": cursor}
    return get(at(_EVENTS, gallery=gallery), events.Events, query)


def _iterate(
    gallery: str, *, limit: int = 1000, **where: Unpack[EventFields]
) -> Paged[events.Events, events.StoredEvent]:
    """Every event of a gallery, newest first.

    Args:
        gallery: its name.
        limit: events per request.
        where: which events.

    Returns:
        An iterator.
    """
    call = _page(gallery, limit=limit, **where)
    return Paged(call, lambda page: page.events, lambda page: page.cursor)


def _stream(
    gallery: str,
    *,
    watch_id: str | None = None,
    cameras: Sequence[str] | None = None,
    after: str | None = None,
) -> Listening[events.EventRecord]:
    """Every event that is stored from now on, as it is stored; it never ends by itself.

    Args:
        gallery: its name.
        watch_id: events of this watch only.
        cameras: events of these cameras only.
        after: the cursor of a listing; events that were stored after its page come first.

    Returns:
        An iterator; it connects again when it has to, and misses nothing meanwhile.
    """
    query = given({"watch_id": watch_id, "cameras": None if cameras is None else list(cameras)})
    path = at(_EVENTS, gallery=gallery) + "/stream"
    headers = given({"Last-Event-ID": after})
    call = Call(
        method="GET", path=path, read=nothing, query=query, headers=headers, repeat="always"
    )
    return Listening(
        call, lambda text: events.EventRecord.model_validate_json(text, extra="ignore")
    )


def _deliver(gallery: str, event_id: str) -> Call[None]:
    """Deliver an event again, such as one whose delivery has failed.

    Args:
        gallery: its name.
        event_id: as the listing gives it.
    """
    path = at(_EVENTS + "/{event_id}/deliver", gallery=gallery, event_id=event_id)
    return Call(method="POST", path=path, read=nothing, repeat="always")


class Watches(Group[Sender]):
    """Watches: who is looked for among new crops."""

    list = Route(_every)
    create = Route(_create)
    get = Route(_get)
    delete = Route(_delete)
    false_alerts = Route(_false_alerts)


class Events(Group[Sender]):
    """Events: who was seen."""

    list = Route(_page)
    iterate = Pages(_iterate)
    stream = Stream(_stream)
    deliver = Route(_deliver)
