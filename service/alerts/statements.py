"""SQL of events: how one is added, and which ones a filter selects."""

from __future__ import annotations

from service.alerts.event import EventFilter, Sighting
from service.gallery.disk.conditions import as_json

# The first condition keeps a track to one event, the second one a person to one at a time.
ADD_EVENT = """
INSERT OR IGNORE INTO events (event_id, watch_id, gallery, compared, crop_id, camera, track, time,
    identity, matched, score, created, delivery, next_try, subject)
SELECT :event_id, :watch_id, :gallery, :of, :crop_id, :camera, :track, :time,
    :identity, :matched, :score, :now, :delivery, :next_try, :subject
WHERE NOT EXISTS (SELECT 1 FROM events WHERE watch_id = :watch_id AND track = :track
        AND camera IS :camera)
    AND NOT EXISTS (SELECT 1 FROM events WHERE watch_id = :watch_id AND subject = :subject
        AND camera IS :camera AND time > :time - :quiet AND time < :time + :quiet)
"""
"""Adds an event, unless its crop, its track or its quiet person has one."""


def values_of(one: Sighting, now: float) -> dict[str, object]:
    """The values of :data:`ADD_EVENT`, at a time in seconds since 1970-01-01 UTC."""
    return {
        "event_id": one.event_id,
        "watch_id": one.watch_id,
        "gallery": one.gallery,
        "of": one.of,
        "crop_id": one.crop_id,
        "camera": one.camera,
        "track": one.track,
        "time": one.time,
        "identity": one.identity,
        "matched": one.matched,
        "score": one.score,
        "now": now,
        "delivery": "waiting" if one.delivered else None,
        "next_try": now if one.delivered else None,
        "subject": one.subject,
        "quiet": one.quiet_seconds,
    }


def condition_of(where: EventFilter) -> tuple[str, list[object]]:
    """A filter as SQL, and the values of its placeholders."""
    parts, values = ["gallery = ?"], list[object]([where.gallery])
    for expression, value in (
        ("watch_id = ?", where.watch_id),
        ("time >= ?", where.since),
        ("time < ?", where.until),
        ("delivery = ?", where.delivery),
    ):
        if value is not None:
            parts.append(expression)
            values.append(value)
    for column, names in (("compared", where.visible), ("camera", where.cameras)):
        if names is not None:
            parts.append(f"{column} IN (SELECT value FROM json_each(?))")  # noqa: S608 - fixed texts
            values.append(as_json(sorted(names)))
    return " AND ".join(parts), values
