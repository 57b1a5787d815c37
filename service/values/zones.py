"""Time zones: by the names of the IANA database, or as offsets from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>[0-9]{2})(:?(?P<minutes>[0-9]{2}))?")
_MOST_HOURS = 18  # ISO offsets in use end at 14; no zone was ever further away


def read_zone(text: str) -> tzinfo:
    """Read a time zone.

    Args:
        text: an IANA name such as ``Europe/Berlin``, an offset such as ``+01:00``, or ``Z``.

    Returns:
        The zone.

    Raises:
        ValueError: there is no such zone; the message names it.
    """
    name = text.strip()
    if name in {"Z", "z"}:
        return UTC
    if found := _OFFSET.fullmatch(name):
        return _fixed(name, found)
    if name in _names():
        return ZoneInfo(name)
    raise ValueError(f"time zone {text[:80]!r} is not known: {_advice(name)}")


def in_zone(moment: datetime, zone: tzinfo) -> tuple[datetime, bool]:
    """Read a local time in a zone.

    Args:
        moment: without a zone of its own.
        zone: whose clocks showed it.

    Returns:
        The moment, and whether the clocks showed this time twice (they were set back): then it is
        the first of both, before the change.

    Raises:
        ValueError: the clocks never showed it, because they were set forward.
    """
    first = moment.replace(tzinfo=zone, fold=0)
    second = moment.replace(tzinfo=zone, fold=1)
    before, after = _offset(first), _offset(second)
    if before == after:
        return first, False
    if before < after:
        raise ValueError(
            f"{moment.isoformat(' ')} does not exist in {zone}: the clocks were set forward over "
            "it; if the camera's clock does not change with the season, state its offset as the "
            f"zone, such as {_iso_offset(before)}"
        )
    return first, True


def _fixed(name: str, found: re.Match[str]) -> tzinfo:
    size = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
    if int(found["minutes"] or 0) > 59 or size > timedelta(hours=_MOST_HOURS):
        raise ValueError(f"time zone {name!r}: an offset is at most {_MOST_HOURS} hours")
    return timezone(-size if found["sign"] == "-" else size)


def _offset(moment: datetime) -> timedelta:
    offset = moment.utcoffset()
    if offset is None:
        raise TypeError("a zone tells its offset")
    return offset


def _iso_offset(offset: timedelta) -> str:
    return str(timezone(offset)).removeprefix("UTC") or "Z"


@cache
def _names() -> frozenset[str]:
    # ZoneInfo alone is not enough: which names it takes depends on the file system, and some zones
    # count leap seconds.
    return frozenset(available_timezones()) - {"Factory"}


def _advice(name: str) -> str:
    if re.fullmatch(r"[0-9]{2}:?[0-9]{2}", name):
        return f"an offset begins with + or -, as +{name} (a + in a URL is written %2B)"
    near = next((known for known in sorted(_names()) if _may_mean(name, known)), None)
    meant = f"did you mean {near}? " if near else ""
    return f"{meant}Write an IANA name such as Europe/Berlin, or an offset such as +01:00"


def _may_mean(name: str, known: str) -> bool:
    given = name.replace(" ", "_").casefold()
    return bool(given) and given in {known.casefold(), known.rpartition("/")[2].casefold()}
