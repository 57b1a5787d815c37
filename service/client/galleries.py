"""Galleries: named sets of crops."""

from __future__ import annotations

from typing import Unpack

from service.api import galleries as api
from service.api.receipts import GalleryDeleted
from service.client.call import Call, Steps, as_model, at, get, given, send_json
from service.client.errors import Conflict, NotFound
from service.client.fields import ChangeFields, GalleryFields
from service.client.routes import Conversation, Group, Route, Sender

_ONE = "/galleries/{gallery}"


def _every() -> Call[api.Galleries]:
    """Every gallery the key may use, with its counts, by name."""
    return get("/galleries", api.Galleries)


def _create(gallery: str, **options: Unpack[GalleryFields]) -> Call[api.GalleryRecord]:
    """Create an empty gallery.

    Args:
        gallery: 1..64 of ``a-z 0-9 _ -``, starting with a letter or digit.
        options: the model, and what the gallery keeps.

    Returns:
        The gallery.
    """
    at(_ONE, gallery=gallery)
    return send_json("POST", "/galleries", api.GalleryRecord, {"name": gallery, **given(options)})


def _get(gallery: str) -> Call[api.GalleryRecord]:
    """One gallery's counts and options."""
    return get(at(_ONE, gallery=gallery), api.GalleryRecord)


def _provide(gallery: str, **options: Unpack[GalleryFields]) -> Steps[api.GalleryRecord]:
    """Create a gallery unless it exists; one that exists keeps its options.

    Args:
        gallery: its name.
        options: of a gallery that is created.

    Returns:
        The gallery.
    """
    found: api.GalleryRecord
    try:  # first, because a key that may fill a gallery may be unable to create it
        found = yield _get(gallery)
    except NotFound:
        try:
            found = yield _create(gallery, **options)
        except Conflict:  # somebody else was quicker
            found = yield _get(gallery)
    return found


def _change(
    gallery: str, *, confirm: bool | int | None = None, **options: Unpack[ChangeFields]
) -> Call[api.GalleryRecord]:
    """Change what a gallery keeps, and for how long.

    Args:
        gallery: its name.
        confirm: needed if a shorter ``keep_for`` erases crops at once: the most crops that may be
            erased, as :meth:`Galleries.forecast` counts them, or True for any number.
        options: those that change.

    Returns:
        The gallery afterwards.
    """
    body = {**options, **({} if confirm is None else {"confirm": confirm})}
    path = at(_ONE, gallery=gallery)
    return send_json("PATCH", path, api.GalleryRecord, body, repeat="always")


def _forecast(gallery: str, **options: Unpack[ChangeFields]) -> Call[api.GalleryForecast]:
    """Tell what a change would erase, without changing anything."""
    body = {**options, "dry_run": True}
    path = at(_ONE, gallery=gallery)
    return send_json("PATCH", path, api.GalleryForecast, body, repeat="always")


def _delete(gallery: str, *, snapshots: bool = False) -> Call[GalleryDeleted]:
    """Delete a gallery, every crop in it, and its jobs, for good.

    Args:
        gallery: its name.
        snapshots: delete its snapshots as well.

    Returns:
        The receipt.
    """
    return Call(
        method="DELETE",
        path=at(_ONE, gallery=gallery),
        query={"snapshots": snapshots},
        read=as_model(GalleryDeleted),
    )


class Galleries(Group[Sender]):
    """Galleries: named sets of crops."""

    list = Route(_every)
    create = Route(_create)
    get = Route(_get)
    provide = Conversation(_provide)
    change = Route(_change)
    forecast = Route(_forecast)
    delete = Route(_delete)
