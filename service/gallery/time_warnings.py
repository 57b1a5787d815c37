"""Warnings about times without a zone: what was assumed, and how to state it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.gallery.filter_warnings import FilterWarning
from service.values.timestamps import Moment

_SHOWN = 20


def time_warnings(moments: Mapping[str, Moment | None]) -> list[FilterWarning]:
    """Warn about the times of a request's fields.

    Args:
        moments: the times by field name.

    Returns:
        One warning per field whose time has no zone, or occurs twice in its zone.
    """
    found = []
    for field, moment in moments.items():
        if moment is not None and moment.assumed_utc:
            found.append(FilterWarning("assumed_utc", field, (), f"{field} {_UTC}"))
        if moment is not None and moment.ambiguous:
            found.append(FilterWarning("ambiguous_time", field, (), f"{field} {_TWICE}"))
    return found


def crop_time_warnings(moments: Sequence[tuple[str, Moment | None]]) -> list[FilterWarning]:
    """Warn about the times of several crops.

    Args:
        moments: crop ids with their times.

    Returns:
        At most one warning per kind; its values are the first twenty crop ids.
    """
    assumed = tuple(crop_id for crop_id, moment in moments if moment and moment.assumed_utc)
    ambiguous = tuple(crop_id for crop_id, moment in moments if moment and moment.ambiguous)
    found = []
    if assumed:
        detail = f"The timestamp of {_crops(assumed)} {_UTC}"
        found.append(FilterWarning("assumed_utc", "timestamp", assumed[:_SHOWN], detail))
    if ambiguous:
        detail = f"The timestamp of {_crops(ambiguous)} {_TWICE}"
        found.append(FilterWarning("ambiguous_time", "timestamp", ambiguous[:_SHOWN], detail))
    return found


def _crops(crop_ids: Sequence[str]) -> str:
    return "1 crop" if len(crop_ids) == 1 else f"{len(crop_ids):,} crops"


_UTC = (
    "has no time zone and was read as UTC; state the zone of the clocks, or add an offset such as "
    "+01:00."
)
_TWICE = (
    "occurs twice in its zone, because the clocks were set back; the first was used. Add an offset "
    "to choose the second."
)
