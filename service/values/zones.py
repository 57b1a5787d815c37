"""Read time zones: IANA names, or offsets from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>[0-9]{2})(:?(?P<minutes>[0-9]{2}))?")
_MOST_HOURS = 18  # offsets in use end at 14 hours, and none was ever larger than this


def read_zone(text: str) -> tzinfo:
    """Read a time zone.

    Args:
        text: an IANA name such as ``Europe/Berlin``, an offset such as ``+01:00``, or ``Z``.

    Returns:
        The zone.

    Raises:
        ValueError: the zone is unknown; the message names it.
    """
    name = text.strip()
    if name in {"Z", "z"}:
        return UTC
    if found := _OFFSET.fullmatch(name):
        return _fixed(name, found)
    if name in _names():
        return ZoneInfo(name)
    raise ValueError(f"unknown time zone {text[:80]!r}: {_advice(name)}")


def in_zone(moment: datetime, zone: tzinfo) -> tuple[datetime, bool]:
    """Place a local time in a zone.

    Args:
        moment: a time without a zone.
        zone: the zone of the clock that showed it.

    Returns:
        The moment, and whether the clocks showed this time twice because they were set back. In
        that case the moment is the first of the two.

    Raises:
        ValueError: the clocks never showed this time, because they were set forward.
    """
    first = moment.replace(tzinfo=zone, fold=0)
    second = moment.replace(tzinfo=zone, fold=1)
    before, after = _offset(first), _offset(second)
    if before == after:
        return first, False
    if before < after:
        raise ValueError(
            f"{moment.isoformat(' ')} does not exist in {zone}: the clocks were set forward past "
            "it; if the camera's clock ignores daylight saving time, give its offset as the zone, "
            f"such as {_iso_offset(before)}"
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
        raise TypeError("the zone has no offset")
    return offset


def _iso_offset(offset: timedelta) -> str:
    return str(timezone(offset)).removeprefix("UTC") or "Z"


@cache
def _names() -> frozenset[str]:
    # Checked here because ZoneInfo accepts other names depending on the file system, and some of
    # those zones count leap seconds.
    return frozenset(available_timezones()) - {"Factory"}


def _advice(name: str) -> str:
    if re.fullmatch(r"[0-9]{2}:?[0-9]{2}", name):
        return f"an offset begins with + or -, such as +{name} (in a URL, + is written %2B)"
    near = next((known for known in sorted(_names()) if _may_mean(name, known)), None)
    meant = f"did you mean {near}? " if near else ""
    return f"{meant}Write an IANA name such as Europe/Berlin, or an offset such as +01:00"


def _may_mean(name: str, known: str) -> bool:
    given = name.replace(" ", "_").casefold()
    return bool(given) and given in {known.casefold(), known.rpartition("/")[2].casefold()}
