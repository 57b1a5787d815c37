"""Read and write points in time: one rule for all input of the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal

from service.values.zones import in_zone

EARLIEST = 315_532_800  # 1980-01-01 UTC; no number is read as an earlier time
LATEST = 4_102_444_800  # 2100-01-01 UTC; no number is read as this time or a later one
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = _EPOCH.replace(tzinfo=None)

_NUMBER = re.compile(r"(?P<whole>0|[1-9][0-9]{0,39})(\.(?P<fraction>[0-9]{1,40}))?")
_DIGITS = {
    8: ("%Y%m%d", "YYYYMMDD"),
    12: ("%Y%m%d%H%M", "YYYYMMDDHHMM"),
    14: ("%Y%m%d%H%M%S", "YYYYMMDDHHMMSS"),
}
_ZONE = r"( ?[+-][0-9]{2}(:?[0-9]{2})?|[Zz])?"
_EXTENDED = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    rf"([Tt ][0-9]{{2}}(:[0-9]{{2}}(:[0-9]{{2}}([.,][0-9]{{1,9}})?)?)?{_ZONE})?"
)
_BASIC = re.compile(
    rf"[0-9]{{8}}[Tt ][0-9]{{2}}([0-9]{{2}}([0-9]{{2}}([.,][0-9]{{1,9}})?)?)?{_ZONE}"
)
_RIGHT = (
    "write ISO 8601, such as 2026-11-21T14:05:33+01:00 or 20261121T140533Z, or seconds since "
    "1970-01-01 UTC"
)
_URL_SPACE = re.compile(r".*[0-9] [0-9]{2}:?[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that was read, and what was assumed to read it.

    Attributes:
        seconds: since 1970-01-01 UTC, finite.
        assumed_utc: it was written without a zone, and no zone was given.
        ambiguous: the clocks of its zone showed it twice; the first of the two was taken.
    """

    seconds: float
    assumed_utc: bool = False
    ambiguous: bool = False


def read_moment(given: object, zone: tzinfo | None = None) -> Moment:
    """Read a time.

    A number means seconds since 1970-01-01 UTC, or milliseconds, whichever is between 1980 and
    2100. Numbers of 8, 12 or 14 digits that are a date (``20261121``, ``202611211405``,
    ``20261121140533``) mean that date. A text may be such a number, or ISO 8601 in extended or
    basic form. Anything else is rejected.

    Args:
        given: a text, a number, a datetime or a date.
        zone: the zone of a time that is written without one; None assumes UTC.

    Returns:
        The moment.

    Raises:
        ValueError: it is not a time; the message shows what was given and what is allowed.
    """
    match given:
        case str():
            return _read_text(given.strip(), _short(given), zone)
        case datetime():
            return _placed(given, zone)
        case date():
            return _placed(datetime(given.year, given.month, given.day), zone)  # noqa: DTZ001
        case int() | float() | Decimal() if not isinstance(given, bool):
            return _read_text(_digits_of(given), _short(given), zone)
        case _:
            raise ValueError(f"{_short(given)} is not a time: {_RIGHT}")


def parse_timestamp(given: object, zone: tzinfo | None = None) -> float:
    """The seconds of :func:`read_moment`, with the same arguments and errors."""
    return read_moment(given, zone).seconds


def corrected(stored: float) -> float:
    """Correct a number that an earlier version stored as seconds without checking it.

    Args:
        stored: a crop's timestamp.

    Returns:
        The seconds of the date (``20261121.0``) or of the milliseconds that it stands for; the
        number itself if it is neither.
    """
    if EARLIEST <= stored < LATEST:
        return stored
    try:
        seconds = parse_timestamp(stored)
    except ValueError:
        return stored
    return seconds if EARLIEST <= seconds < LATEST else stored


def as_input(seconds: float) -> float | str:
    """Write a time so that :func:`read_moment` reads back the same number.

    Args:
        seconds: since 1970-01-01 UTC.

    Returns:
        The seconds if that number is read as seconds, otherwise ISO 8601.
    """
    if EARLIEST <= seconds < LATEST:
        return seconds
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except (OverflowError, ValueError):  # outside the years of a datetime
        return seconds


def as_text(seconds: float) -> str:
    """Write a time for people: ISO 8601 in UTC, to the second; plain seconds if it has no date."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return f"{seconds} s"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def moment_as_input(moment: Moment) -> float | str:
    """Write a moment like :func:`as_input`, so that UTC is assumed again when it is read back."""
    if not moment.assumed_utc:
        return as_input(moment.seconds)
    return (_LOCAL_EPOCH + timedelta(seconds=moment.seconds)).isoformat()


def _read_text(text: str, shown: str, zone: tzinfo | None) -> Moment:
    if found := _NUMBER.fullmatch(text):
        return _read_number(text, found, shown, zone)
    if _EXTENDED.fullmatch(text) or _BASIC.fullmatch(text):
        return _read_iso(text, shown, zone)
    raise ValueError(f"{shown} is not a time: {_hint(text)}")


def _read_iso(text: str, shown: str, zone: tzinfo | None) -> Moment:
    # fromisoformat rejects a space before an offset.
    compact = re.sub(r" (?=[+-])", "", text.upper())
    try:
        moment = datetime.fromisoformat(compact)
    except ValueError as error:
        raise ValueError(f"{shown} is not a time: {error}") from None
    return _placed(moment, zone)


def _read_number(text: str, found: re.Match[str], shown: str, zone: tzinfo | None) -> Moment:
    # No number in this range is a date of 8 or 14 digits, nor one of 12 digits before 3155.
    for factor in (1, 1000):
        seconds = Decimal(text) / factor
        if EARLIEST <= seconds < LATEST:
            return Moment(float(seconds))
    whole = found["whole"]
    if len(whole) in _DIGITS and not (found["fraction"] or "").strip("0"):
        return _placed(_read_digits(whole, shown), zone)
    raise ValueError(f"{shown} is not a time: {_number_hint(Decimal(text), whole)}")


def _read_digits(digits: str, shown: str) -> datetime:
    pattern, shape = _DIGITS[len(digits)]
    try:
        return datetime.strptime(digits, pattern)  # noqa: DTZ007
    except ValueError:
        raise ValueError(
            f"{shown} is not a time: {len(digits)} digits are read as {shape}, and this date does "
            "not exist"
        ) from None


def _placed(moment: datetime, zone: tzinfo | None) -> Moment:
    ambiguous = False
    if assumed := moment.tzinfo is None and zone is None:
        moment = moment.replace(tzinfo=UTC)
    elif moment.tzinfo is None and zone is not None:
        moment, ambiguous = in_zone(moment, zone)
    # In this order, because the moment in UTC may lie outside the years of a datetime.
    since = moment.replace(tzinfo=None) - _LOCAL_EPOCH - (moment.utcoffset() or timedelta())
    return Moment(since.total_seconds(), assumed, ambiguous)


def _digits_of(number: float | Decimal) -> str:
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    return f"{exact:f}"


def _number_hint(number: Decimal, whole: str) -> str:
    for name, factor in (("microseconds", 10**6), ("nanoseconds", 10**9)):
        if EARLIEST <= number / factor < LATEST:
            return f"these look like {name}; divide them by {factor:,} to write seconds"
    if number == 0:
        return "leave the field out if the time is unknown"
    if len(whole) == 4:
        return f"a year alone is not a time; write its first day, {whole}-01-01"
    if len(whole) == 6:
        return f"a month alone is not a time; write its first day, {whole[:4]}-{whole[4:]}-01"
    return (
        "read as seconds or milliseconds since 1970-01-01 UTC it is not between the years 1980 "
        f"and 2100; {_RIGHT}"
    )


def _hint(text: str) -> str:
    if _URL_SPACE.fullmatch(text):
        return "the offset has no sign (in a URL, + is written %2B)"
    if text.lower() in {"", "nan", "infinity", "nat", "none", "null"}:
        return "leave the field out if the time is unknown"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text):
        return f"a month alone is not a time; write its first day, {text}-01"
    if "_" in text and re.fullmatch(r"[0-9_]+", text):
        return f"write digits without underscores; {_RIGHT}"
    return _RIGHT


def _short(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."
