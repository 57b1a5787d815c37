"""Filters as expressions of Milvus."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from service.gallery.base import Filter
from service.gallery.beyond_columns import end_of_prefix, is_storable
from service.values.names import is_name

_NO_CROP = "crop_id in []"


def expression(where: Filter, fields: Collection[str]) -> str:
    """Write a filter as an expression of Milvus.

    Args:
        where: the filter.
        fields: those that the collection has; collections of earlier releases lack some.

    Returns:
        The expression; empty if every crop passes.
    """
    dated = "added" in fields
    parts = [
        f"{field} in {texts_of(chosen)}"
        for field, chosen in (
            ("camera", where.cameras),
            ("identity", where.identities),
            ("crop_id", where.crop_ids),
        )
        if chosen is not None
    ]
    parts += _of_later_fields(where, fields)
    excluded = [name for name in (where.not_camera, where.own_camera) if name is not None]
    if excluded:
        parts.append(f"camera not in {texts_of(excluded)}")
    if where.since is not None:
        parts.append(f"timed == true and timestamp >= {_number(where.since)}")
    if where.until is not None:
        parts.append(f"timed == true and timestamp < {_number(where.until)}")
    if where.has_identity is not None:
        parts.append(f'identity {"!=" if where.has_identity else "=="} ""')
    if where.expired_before is not None:
        parts.append(_expired(_number(where.expired_before), dated=dated))
    if where.id_prefix is not None:
        parts.append(_beginning_with(where.id_prefix))
    for comparison, bound in ((">=", where.added_since), ("<", where.added_until)):
        if bound is not None:
            parts.append(f"added {comparison} {_number(bound)}" if dated else _NO_CROP)
    return " and ".join(parts)


def _of_later_fields(where: Filter, fields: Collection[str]) -> list[str]:
    """Conditions on fields that a collection may lack: no track, and all identities given."""
    parts = []
    if where.tracks is not None:
        parts.append(f"track in {texts_of(where.tracks)}" if "track" in fields else _NO_CROP)
    if where.origins is not None and "origin" in fields:
        parts.append(f"origin in {texts_of(sorted(where.origins))}")
    elif where.origins is not None and "given" not in where.origins:
        parts.append(_NO_CROP)
    return parts


def _beginning_with(prefix: str) -> str:
    """A range of ids, because ``like`` would read some characters of the prefix as wildcards."""
    if not is_storable(prefix):
        return _NO_CROP
    end = end_of_prefix(prefix)
    return f"crop_id >= {text_of(prefix)}" + (
        "" if end is None else f" and crop_id < {text_of(end)}"
    )


def _expired(bound: str, *, dated: bool) -> str:
    taken = f"(timed == true and timestamp < {bound})"
    return f"({taken} or (timed == false and added < {bound}))" if dated else taken


def texts_of(texts: Iterable[str]) -> str:
    """A list in an expression, without texts that no crop can have and no expression can hold."""
    return f"[{', '.join(text_of(text) for text in texts if is_name(text))}]"


def text_of(text: str) -> str:
    """A text in an expression."""
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    return repr(min(max(float(value), -1e300), 1e300))
