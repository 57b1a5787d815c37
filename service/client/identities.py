"""Identities: who is who in a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from service.api import identities as api
from service.api.jobs import JobRecord
from service.client.call import Call, Paged, at, get, given, send_json
from service.client.fields import ClusterFields, FilterFields
from service.client.routes import Group, Pages, Route, Sender

_ALL = "/galleries/{gallery}/identities"


def _page(
    gallery: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    **where: Unpack[FilterFields],
) -> Call[api.IdentityPage]:
    """One page of a gallery's identities, in the order of their names.

    Args:
        gallery: its name.
        limit: identities per page, 1..1000; 100 if absent.
        cursor: the previous page's.
        where: which crops count.

    Returns:
        The page.
    """
    query = {**where, "limit": limit, "cursor": cursor}
    return get(at(_ALL, gallery=gallery), api.IdentityPage, query)


def _every(
    gallery: str, *, limit: int = 1000, **where: Unpack[FilterFields]
) -> Paged[api.IdentityPage, api.IdentityRecord]:
    """Every identity of a gallery, in the order of their names.

    Args:
        gallery: its name.
        limit: identities per request.
        where: which crops count.

    Returns:
        An iterator.
    """
    call = _page(gallery, limit=limit, **where)
    return Paged(call, lambda page: page.identities, lambda page: page.cursor)


def _label(
    gallery: str, crop_ids: Sequence[str], identity: str | None
) -> Call[api.CorrectionRecord]:
    """Say which person crops show; no clustering changes it afterwards.

    Args:
        gallery: its name.
        crop_ids: 1..10,000 crops.
        identity: the person; None for a person nobody knows.

    Returns:
        How many crops changed.
    """
    body = {"crop_ids": list(crop_ids), "identity": identity}
    path = at(_ALL, gallery=gallery) + "/label"
    return send_json("POST", path, api.CorrectionRecord, body, repeat="always")


def _merge(gallery: str, identities: Sequence[str], into: str) -> Call[api.CorrectionRecord]:
    """Make one person of several identities.

    Args:
        gallery: its name.
        identities: those that are one person.
        into: their name from now on.

    Returns:
        How many crops changed.
    """
    body = {"identities": list(identities), "into": into}
    return send_json("POST", at(_ALL, gallery=gallery) + "/merge", api.CorrectionRecord, body)


def _split(
    gallery: str, crop_ids: Sequence[str], into: str | None = None
) -> Call[api.CorrectionRecord]:
    """Take crops out of their identity.

    Args:
        gallery: its name.
        crop_ids: 1..10,000 crops of one identity.
        into: the identity they get; a new name if None.

    Returns:
        The identity, and how many crops changed.
    """
    body = given({"crop_ids": list(crop_ids), "into": into})
    return send_json("POST", at(_ALL, gallery=gallery) + "/split", api.CorrectionRecord, body)


def _cluster(gallery: str, **fields: Unpack[ClusterFields]) -> Call[JobRecord]:
    """Start a job that groups crops without a name into persons.

    Args:
        gallery: its name.
        fields: which crops take part, and how close they must be.

    Returns:
        The job; wait for it with ``client.jobs.wait``.
    """
    path = at("/galleries/{gallery}/cluster", gallery=gallery)
    return send_json("POST", path, JobRecord, given(fields))


class Identities(Group[Sender]):
    """Identities: who is who in a gallery."""

    list = Route(_page)
    iterate = Pages(_every)
    label = Route(_label)
    merge = Route(_merge)
    split = Route(_split)
    cluster = Route(_cluster)
