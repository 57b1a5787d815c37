"""Watches and events on disk: rows of one SQLite file, so that they survive a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from service.alerts.database import lacks_tables, make_tables
from service.alerts.event import Event, EventFilter, Verdict
from service.alerts.statements import ADD_EVENT, condition_of, values_of
from service.alerts.watch import MQTT, Watch, WatchOrder
from service.errors import Conflict, NotFound
from service.gallery.disk.conditions import as_json
from service.machine.erasable import ErasableFile, mark_unclean

MOST_WATCHES = 100
"""Watches per gallery; each new crop is compared for all of them."""

_DELIVER_TO = "json_extract(wanted, '$.deliver_to')"
_WATCH = "watch_id, wanted, created, begins, secret, problem"
_EVENT = (
    "number, event_id, watch_id, gallery, compared, crop_id, camera, track, time, identity, "
    "matched, score, created, delivery, attempts, next_try, error"
)


class AlertTable(ErasableFile):
    """The watches and events of one service; safe to call from several threads.

    Every method raises Unavailable if the file cannot be used; one that writes also raises
    StorageFull if the disk is full.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, make_tables, lacks_tables)
        self.erasures = 0
        """How often people were erased; who has read a gallery before has to read it again."""

    def add_watch(self, watch: Watch) -> None:
        """Add a watch, durable on return.

        Raises:
            Conflict: its gallery has too many watches.
        """
        order = watch.order
        with self.writing() as connection:
            counted = "SELECT count(*) FROM watches WHERE gallery = ?"
            (count,) = connection.execute(counted, [order.gallery]).fetchone()
            if count >= MOST_WATCHES:
                raise Conflict(f"gallery {order.gallery!r} has {count} watches: delete one first")
            connection.execute(
                "INSERT INTO watches (watch_id, gallery, compared, wanted, created, begins, "
                "secret) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(watch.watch_id, order.gallery, order.of, order.as_text()),
                    *(watch.created, watch.begins, watch.secret),
                ),
            )
            _mark_judged(connection, order.gallery, watch.begins)

    def watches(self, gallery: str) -> list[Watch]:
        """The watches of a gallery, oldest first."""
        return self._watches("gallery = ?", gallery)

    def watch(self, gallery: str, watch_id: str) -> Watch:
        """One watch of a gallery. Raises NotFound."""
        found = self._watches("gallery = ? AND watch_id = ?", gallery, watch_id)
        if not found:
            raise unknown_watch(watch_id)
        return found[0]

    def owner(self, watch_id: str) -> Watch | None:
        """The watch of an event, unless it was deleted."""
        return next(iter(self._watches("watch_id = ?", watch_id)), None)

    def watches_of_broker(self) -> list[Watch]:
        """The watches whose events are published at the operator's broker."""
        return self._watches(f"{_DELIVER_TO} = ?", MQTT)

    def delete_watch(self, gallery: str, watch_id: str) -> None:
        """Delete a watch; its events stay, and those that wait are not delivered.

        Raises:
            NotFound: there is no such watch.
        """
        with self.writing() as connection:
            where = "gallery = ? AND watch_id = ?"
            if not drop_watches(connection, where, (gallery, watch_id)):
                raise unknown_watch(watch_id)
        self.clean_soon()

    def say_problem(self, watch_id: str, problem: str | None) -> None:
        """Store why a watch judges nothing at present."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE watches SET problem = ? WHERE watch_id = ?", (problem, watch_id)
            )

    def judged(self) -> dict[str, float]:
        """Until when what was added to each watched gallery is judged, by its name."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT gallery, added FROM judged WHERE gallery IN (SELECT gallery FROM watches)"
            )
            return dict(rows.fetchall())

    def add_events(self, verdict: Verdict, erasures: int, now: float) -> int | None:
        """Store the events of crops that were judged, and that they were; durable on return.

        Args:
            verdict: what was found. Sightings of a track or a crop that has made an event, or of a
                person within the quiet period, make none.
            erasures: :attr:`erasures` before the crops were read.
            now: seconds since 1970-01-01 UTC.

        Returns:
            Number of new events; None if people were erased meanwhile, so that nothing was stored.
        """
        stored = 0
        with self.writing() as connection:
            if self.erasures != erasures:
                return None
            for one in verdict.sightings:
                stored += connection.execute(ADD_EVENT, values_of(one, now)).rowcount
            _mark_judged(connection, verdict.gallery, verdict.until)
        return stored

    def newest(self, where: EventFilter, limit: int, before: int | None = None) -> list[Event]:
        """Events that pass a filter, newest first, from one number down."""
        condition, values = condition_of(where)
        if before is not None:
            condition, values = f"{condition} AND number < ?", [*values, before]
        return self._events(f"{condition} ORDER BY number DESC LIMIT ?", *values, limit)

    def following(self, where: EventFilter, after: int, limit: int) -> list[Event]:
        """Events that pass a filter and were stored after another one, oldest first."""
        condition, values = condition_of(where)
        return self._events(
            f"{condition} AND number > ? ORDER BY number LIMIT ?", *values, after, limit
        )

    def latest_number(self) -> int:
        """The number of the newest event there has ever been; 0 without one."""
        with self.reading() as connection:
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
            ).fetchone()
        return 0 if row is None else int(row[0])

    def due(self, now: float, but: Collection[str], limit: int) -> list[Event]:
        """The event whose delivery is due longest, of each watch that has one.

        Args:
            now: seconds since 1970-01-01 UTC.
            but: ids of watches to leave out.
            limit: most events.
        """
        return self._events(
            "number IN (SELECT number FROM (SELECT number, min(next_try) FROM events "
            "WHERE delivery = 'waiting' AND next_try <= ? "
            "AND watch_id NOT IN (SELECT value FROM json_each(?)) GROUP BY watch_id)) "
            "ORDER BY next_try LIMIT ?",
            *(now, as_json(but), limit),
        )

    def next_try(self, but: Collection[str]) -> float | None:
        """When the next delivery of other watches is due; None if none waits."""
        with self.reading() as connection:
            (moment,) = connection.execute(
                "SELECT min(next_try) FROM events WHERE delivery = 'waiting' "
                "AND watch_id NOT IN (SELECT value FROM json_each(?))",
                [as_json(but)],
            ).fetchone()
        return None if moment is None else float(moment)

    def save_delivery(self, event: Event) -> None:
        """Store how the delivery of an event stands; one that was erased stays erased."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE events SET delivery = ?, attempts = ?, next_try = ?, error = ? "
                "WHERE number = ? AND delivery = 'waiting'",
                (event.delivery, event.attempts, event.next_try, event.error, event.number),
            )

    def deliver_again(self, where: EventFilter, event_id: str, now: float) -> None:
        """Let an event that passes a filter wait for its delivery as if it were new.

        Raises:
            NotFound: there is no such event.
            Conflict: its watch has no address, or was deleted.
        """
        condition, values = condition_of(where)
        with self.writing() as connection:
            row = connection.execute(
                f"SELECT watch_id IN (SELECT watch_id FROM watches WHERE {_DELIVER_TO} "  # noqa: S608 - fixed texts, values are bound
                f"IS NOT NULL) FROM events WHERE {condition} AND event_id = ?",
                (*values, event_id),
            ).fetchone()
            if row is None:
                raise NotFound(f"no event {event_id[:80]!r}")
            if not row[0]:
                raise Conflict("the watch of this event has no deliver_to, or was deleted")
            connection.execute(
                "UPDATE events SET delivery = 'waiting', attempts = 0, next_try = ?, error = NULL "
                "WHERE event_id = ?",
                (now, event_id),
            )

    def _watches(self, condition: str, *values: str) -> list[Watch]:
        with self.reading() as connection:
            rows = connection.execute(
                f"SELECT {_WATCH} FROM watches WHERE {condition} ORDER BY number",  # noqa: S608 - fixed texts, values are bound
                values,
            ).fetchall()
        return [_watch(row) for row in rows]

    def _events(self, condition: str, *values: object) -> list[Event]:
        with self.reading() as connection:
            rows = connection.execute(
                f"SELECT {_EVENT} FROM events WHERE {condition}",  # noqa: S608 - fixed texts, values are bound
                values,
            ).fetchall()
        return [Event(*row) for row in rows]


def unknown_watch(watch_id: str) -> NotFound:
    """The error for an id that no watch of the gallery has."""
    return NotFound(f"no watch {watch_id[:80]!r}")


def drop_watches(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> int:
    """Delete the watches that meet a condition; returns how many."""
    rows = connection.execute(f"DELETE FROM watches WHERE {where} RETURNING watch_id", values)  # noqa: S608 - fixed texts, values are bound
    gone = [watch_id for (watch_id,) in rows.fetchall()]
    if gone:
        connection.execute(
            "UPDATE events SET delivery = 'failed', next_try = NULL, "
            "error = 'the watch was deleted' WHERE delivery = 'waiting' "
            "AND watch_id IN (SELECT value FROM json_each(?))",
            [as_json(gone)],
        )
        mark_unclean(connection)
    return len(gone)


def _mark_judged(connection: sqlite3.Connection, gallery: str, added: float) -> None:
    connection.execute(
        "INSERT INTO judged VALUES (?, ?) "
        "ON CONFLICT (gallery) DO UPDATE SET added = max(added, excluded.added)",
        (gallery, added),
    )


def _watch(row: Sequence[Any]) -> Watch:
    watch_id, wanted, created, begins, secret, problem = row
    return Watch(watch_id, WatchOrder.read(wanted), created, begins, secret, problem)
