"""Erases what watches and events say about people who were erased, and what is too old."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from dataclasses import replace

from service.alerts.table import AlertTable, drop_watches
from service.alerts.watch import WatchOrder
from service.gallery.disk.conditions import as_json
from service.machine.erasable import mark_unclean

_MOST_EVENTS = 100_000  # per gallery
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_AMONG = "IN (SELECT value FROM json_each(?))"


def forget_gallery(table: AlertTable, gallery: str) -> None:
    """Erase the watches and events of a gallery, and those that compare with it.

    Raises:
        StorageFull: the disk is full.
        Unavailable: the file cannot be used.
    """
    with table.writing() as connection:
        table.erasures += 1
        both = (gallery, gallery)
        gone = drop_watches(connection, "gallery = ? OR compared = ?", both)
        gone += _drop_events(connection, "gallery = ? OR compared = ?", both)
        connection.execute("DELETE FROM judged WHERE gallery = ?", [gallery])
        gone += _drop_shown(connection, "compared = ?", (gallery,))
    if gone:
        table.clean_soon()


def forget_names(table: AlertTable, gallery: str, texts: Collection[str], *, all_: bool) -> None:
    """Erase what names people who were erased from a gallery.

    An event goes with its crop, with the crop that it matched, and with the person that it is
    about. A watch goes with the last person that it looks for, and its name if it holds one.

    Args:
        table: the watches and events.
        gallery: that they were erased from.
        texts: ids of crops, and identities that no crop has any more.
        all_: the gallery is empty now.

    Raises:
        StorageFull: the disk is full.
        Unavailable: the file cannot be used.
    """
    if not (texts or all_):
        return
    names = as_json(texts)
    with table.writing() as connection:
        table.erasures += 1
        gone = _drop_events(
            connection, f"gallery = ? AND (? OR crop_id {_AMONG})", (gallery, all_, names)
        )
        gone += _drop_events(
            connection,
            f"compared = ? AND (identity {_AMONG} OR matched {_AMONG})",
            (gallery, names, names),
        )
        gone += _drop_shown(
            connection,
            f"compared = ? AND (identity {_AMONG} OR crop_id {_AMONG})",
            (gallery, names, names),
        )
        gone += _forget_in_watches(connection, gallery, frozenset(texts))
        if gone:
            mark_unclean(connection)
    if gone:
        table.clean_soon()


def forget_old(table: AlertTable, before: float) -> None:
    """Erase events that were stored before a moment, and all but the newest of each gallery.

    Args:
        table: the watches and events.
        before: seconds since 1970-01-01 UTC.

    Raises:
        StorageFull: the disk is full.
        Unavailable: the file cannot be used.
    """
    with table.writing() as connection:
        _drop_events(
            connection,
            "created < ? OR number IN (SELECT number FROM (SELECT number, row_number() OVER "
            "(PARTITION BY gallery ORDER BY number DESC) AS place FROM events) WHERE place > ?)",
            (before, _MOST_EVENTS),
        )


def galleries_of(table: AlertTable) -> list[str]:
    """Names of all galleries that a watch or an event names."""
    with table.reading() as connection:
        rows = connection.execute(
            "SELECT gallery FROM watches UNION SELECT compared FROM watches "
            "UNION SELECT gallery FROM events UNION SELECT compared FROM events "
            "UNION SELECT compared FROM shown"
        )
        return [name for (name,) in rows.fetchall()]


def _drop_events(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
    gone = connection.execute(f"DELETE FROM events WHERE {where}", values).rowcount  # noqa: S608 - fixed texts, values are bound
    if gone:
        mark_unclean(connection)
    return gone


def _drop_shown(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> int:
    gone = connection.execute(f"DELETE FROM shown WHERE {where}", values).rowcount  # noqa: S608 - fixed texts, values are bound
    if gone:
        mark_unclean(connection)
    return gone


def _forget_in_watches(connection: sqlite3.Connection, gallery: str, texts: frozenset[str]) -> int:
    """Remove people from the watches that look for them; returns how many watches changed."""
    rows = connection.execute(
        "SELECT watch_id, wanted FROM watches WHERE compared = ? OR gallery = ?",
        (gallery, gallery),
    ).fetchall()
    phrases = {phrase_of(text) for text in texts} if rows else ()
    changed = 0
    for watch_id, wanted in rows:
        order = WatchOrder.read(wanted)
        left = without(order, texts) if order.of == gallery else order
        if left is None:
            changed += drop_watches(connection, "watch_id = ?", (watch_id,))
        elif (left := unnamed(left, phrases)) != order:
            changed += connection.execute(
                "UPDATE watches SET wanted = ? WHERE watch_id = ?", (left.as_text(), watch_id)
            ).rowcount
    return changed


def without(order: WatchOrder, texts: Collection[str]) -> WatchOrder | None:
    """An order without some people and crops; None if it looked for nobody else."""
    identities = tuple(name for name in order.identities if name not in texts)
    crop_ids = tuple(crop_id for crop_id in order.crop_ids if crop_id not in texts)
    if (order.identities and not identities) or (order.crop_ids and not crop_ids):
        return None
    return replace(order, identities=identities, crop_ids=crop_ids)


def unnamed(order: WatchOrder, phrases: Collection[str]) -> WatchOrder:
    """An order without its name, if that holds one of some phrases of :func:`phrase_of`."""
    name = phrase_of(order.name or "")
    named = any(phrase in name for phrase in phrases)
    return replace(order, name=None) if named else order


def phrase_of(text: str) -> str:
    """The words of a text, so that they can be found among others, whatever is between them."""
    return f" {_BETWEEN_WORDS.sub(' ', text.casefold()).strip()} "
