"""A filter as SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable

from service.gallery.base import Filter
from service.gallery.beyond_columns import end_of_prefix, is_storable


def condition(where: Filter) -> tuple[str, list[str | float]]:
    """Write a filter as a condition on the table ``crops``.

    Args:
        where: the filter. Each of its sets is bound as one JSON value, so their size has no limit.

    Returns:
        An expression for ``WHERE`` and the values of its placeholders.
    """
    parts: list[str] = ["TRUE"]
    values: list[str | float] = []
    for one_of, chosen in (
        ("camera IN (SELECT value FROM json_each(?))", where.cameras),
        ("track IN (SELECT value FROM json_each(?))", where.tracks),
        ("origin IN (SELECT value FROM json_each(?))", where.origins),
        ("identity IN (SELECT value FROM json_each(?))", where.identities),
        ("crop_id IN (SELECT value FROM json_each(?))", where.crop_ids),
    ):
        if chosen is not None:
            parts.append(one_of)
            values.append(as_json(sorted(chosen)))
    excluded = [name for name in (where.not_camera, where.own_camera) if name is not None]
    if excluded:
        parts.append("(camera IS NULL OR camera NOT IN (SELECT value FROM json_each(?)))")
        values.append(as_json(excluded))
    for comparison, bound in (
        ("timestamp >= ?", where.since),
        ("timestamp < ?", where.until),
        ("added >= ?", where.added_since),
        ("added < ?", where.added_until),
        ("coalesce(timestamp, added) < ?", where.expired_before),
    ):
        if bound is not None:
            parts.append(comparison)
            values.append(float(bound))
    if where.has_identity is not None:
        parts.append(f"identity IS {'NOT ' if where.has_identity else ''}NULL")
    if where.id_prefix is not None:
        _add_prefix(where.id_prefix, parts, values)
    return " AND ".join(parts), values


def _add_prefix(prefix: str, parts: list[str], values: list[str | float]) -> None:
    """Add a range of ids, for which SQLite can use the index; it orders texts by code point."""
    if not is_storable(prefix):
        parts.append("FALSE")
        return
    parts.append("crop_id >= ?")
    values.append(prefix)
    end = end_of_prefix(prefix)
    if end is not None:
        parts.append("crop_id < ?")
        values.append(end)


def as_json(texts: Iterable[str]) -> str:
    """Texts as one bound value for ``json_each``; in ASCII, since they may hold lone surrogates."""
    return json.dumps(list(texts))
