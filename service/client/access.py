"""Keys and the audit log: who may do what, and who did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from service.api import keys as api
from service.client.call import Call, Paged, Time, as_model, at, get, given, send_json
from service.client.routes import Group, Pages, Route, Sender


def _whoami() -> Call[api.WhoAmI]:
    """Who the service takes you for, and what you may do."""
    return get("/whoami", api.WhoAmI)


def _every() -> Call[api.Keys]:
    """Every key without its secret, including revoked and expired ones."""
    return get("/keys", api.Keys)


def _create(
    label: str,
    scope: Literal["search", "write", "admin"],
    *,
    galleries: Sequence[str] | None = None,
    expires: Time | None = None,
    requests_per_minute: int | None = None,
) -> Call[api.CreatedKey]:
    """Create a key; only this answer holds its text.

    Args:
        label: what the key is for.
        scope: the most it allows; each scope includes those before it.
        galleries: the only galleries it is for; all if None.
        expires: when it ends; never if None.
        requests_per_minute: its limit; the service's setting if None.

    Returns:
        The key with its text.
    """
    fields = {
        "label": label,
        "scope": scope,
        "galleries": None if galleries is None else list(galleries),
        "expires": expires,
        "requests_per_minute": requests_per_minute,
    }
    return send_json("POST", "/keys", api.CreatedKey, given(fields))


def _revoke(key_id: str) -> Call[api.KeyRecord]:
    """Revoke a key, for good; it is rejected from the next request on."""
    path = at("/keys/{key_id}", key_id=key_id)
    return Call(method="DELETE", path=path, read=as_model(api.KeyRecord), repeat="always")


def _page(
    *,
    since: Time | None = None,
    until: Time | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[api.AuditAnswer]:
    """One page of the audit log, oldest first.

    Args:
        since: entries of this time or later.
        until: entries before this time.
        limit: entries per page, 1..1000; 100 if absent.
        cursor: the previous page's.

    Returns:
        The page.
    """
    query = {"since": since, "until": until, "limit": limit, "cursor": cursor}
    return get("/audit", api.AuditAnswer, query)


def _entries(
    *, since: Time | None = None, until: Time | None = None, limit: int = 1000
) -> Paged[api.AuditAnswer, api.AuditRecord]:
    """Every entry of the audit log, oldest first.

    Args:
        since: entries of this time or later.
        until: entries before this time.
        limit: entries per request.

    Returns:
        An iterator.
    """
    call = _page(since=since, until=until, limit=limit)
    return Paged(call, lambda page: page.entries, lambda page: page.cursor)


class Keys(Group[Sender]):
    """Keys: who may do what."""

    whoami = Route(_whoami)
    list = Route(_every)
    create = Route(_create)
    revoke = Route(_revoke)


class Audit(Group[Sender]):
    """The audit log: who searched or changed what, and when."""

    list = Route(_page)
    iterate = Pages(_entries)
