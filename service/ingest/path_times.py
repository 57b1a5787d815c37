"""Read times from names of files and folders, as a pattern finds them: whole or in parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from service.errors import InvalidInput

PIECES = (
    *("date", "time"),
    *("year", "month", "day", "hour", "minute", "second", "millisecond", "fraction"),
)
"""Groups of a pattern that together make the time of a crop."""

_DATE = r"(?P<year>[0-9]{4})(?P<d>[-_./]?)(?P<month>[0-9]{2})(?P=d)(?P<day>[0-9]{2})"
_HOUR, _MINUTE, _SECOND = (rf"(?P<{name}>[0-9]{{2}})" for name in ("hour", "minute", "second"))
_FRACTION = r"([.,](?P<fraction>[0-9]{1,9})|[-_]?(?P<millisecond>[0-9]{3}))?"
_TIMES = (
    rf"{_HOUR}(?P<t>[-_.:]){_MINUTE}((?P=t){_SECOND}{_FRACTION})?",
    rf"{_HOUR}h({_MINUTE}(m({_SECOND}s?{_FRACTION})?)?)?",
    rf"{_HOUR}({_MINUTE}({_SECOND}{_FRACTION})?)?",
)
_ZONE = r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
_FORMS = {
    "date": [re.compile(_DATE)],
    "time": [re.compile(time) for time in _TIMES],
    "timestamp": [re.compile(f"{_DATE}[T_/ -]{time}{_ZONE}") for time in _TIMES],
}
_WIDTHS = {"year": (4, 4), "millisecond": (1, 3), "fraction": (1, 9)}
_ONE_OR_TWO = (1, 2)
_NEEDS = {
    "time": ("date", "day"),
    "month": ("year",),
    "day": ("month",),
    "year": ("month",),
    "hour": ("date", "day"),
    "minute": ("hour",),
    "second": ("minute",),
    "millisecond": ("second", "time"),
    "fraction": ("second", "time"),
}
_EXCLUDES = {
    "timestamp": PIECES,
    "date": ("year", "month", "day"),
    "time": ("hour", "minute", "second"),
    "millisecond": ("fraction",),
}


def check_groups(groups: Collection[str]) -> None:
    """Check that the groups of a pattern make a time, if it has any for times.

    Args:
        groups: every group of the pattern.

    Raises:
        InvalidInput: two groups contradict each other, or a group needs another one.
    """
    for group, others in _EXCLUDES.items():
        if group in groups and (clash := [other for other in others if other in groups]):
            raise InvalidInput(f"the groups {group!r} and {clash[0]!r} exclude each other")
    for group, others in _NEEDS.items():
        if group in groups and not any(other in groups for other in others):
            needed = " or ".join(map(repr, others))
            raise InvalidInput(f"the group {group!r} needs {needed}")
    if "month" in groups and "day" not in groups:
        raise InvalidInput("the group 'month' needs 'day'")


def time_of_groups(groups: Mapping[str, str | None]) -> str | None:
    """Make a time in ISO 8601 from the groups of a pattern.

    Args:
        groups: the text each group matched; None or empty if it matched nothing.

    Returns:
        The text for :func:`service.values.timestamps.read_moment`; None if no group matched. A
        ``timestamp`` that does not look like a time in a file name is returned unchanged.

    Raises:
        ValueError: a group matched a text that is not part of a time; the message names it.
    """
    taken = {name: text for name, text in groups.items() if text}
    if "timestamp" in taken:
        whole = _divided("timestamp", taken["timestamp"])
        return taken["timestamp"] if whole is None else _iso(whole)
    pieces = {name: text for name, text in taken.items() if name in PIECES}
    for name in ("date", "time"):
        if text := pieces.pop(name, None):
            parts = _divided(name, text)
            if parts is None:
                raise ValueError(f"{name} {text[:40]!r} must look like {_EXAMPLES[name]}")
            pieces = parts | pieces
    return _iso(pieces) if pieces else None


def _divided(name: str, text: str) -> dict[str, str] | None:
    found = next(filter(None, (form.fullmatch(text) for form in _FORMS[name])), None)
    if found is None:
        return None
    return {piece: part for piece, part in found.groupdict().items() if part}


def _iso(pieces: Mapping[str, str]) -> str:
    for name, needed in _BEFORE.items():
        if name in pieces and needed not in pieces:
            raise ValueError(f"{name} ({pieces[name][:40]!r}) needs {needed}, which is missing")
    if "fraction" in pieces and "millisecond" in pieces:
        raise ValueError("two groups give a fraction of a second")
    part = {name: _digits(name, pieces[name]) for name in PIECES[2:] if name in pieces}
    text = f"{part['year']}-{part['month']:0>2}-{part['day']:0>2}"
    if "hour" in part:
        text += f"T{part['hour']:0>2}:{part.get('minute', ''):0>2}:{part.get('second', ''):0>2}"
    if "millisecond" in part:
        text += f".{part['millisecond']:0>3}"
    elif "fraction" in part:
        text += f".{part['fraction']}"
    return text + pieces.get("zone", "")


def _digits(name: str, text: str) -> str:
    least, most = _WIDTHS.get(name, _ONE_OR_TWO)
    if not re.fullmatch(f"[0-9]{{{least},{most}}}", text):
        wanted = f"{least} to {most}" if least < most else f"{most}"
        raise ValueError(f"{name} {text[:40]!r} must be {wanted} digits")
    return text


_BEFORE = {
    "hour": "day",
    "minute": "hour",
    "second": "minute",
    "millisecond": "second",
    "fraction": "second",
    "day": "month",
    "month": "year",
    "year": "day",
}
_EXAMPLES = {
    "date": "2026-11-21, 2026_11_21, 2026.11.21, 2026/11/21 or 20261121",
    "time": "14-05-33, 14_05_33, 14.05.33, 14:05:33, 140533 or 14h05m33, optionally "
    "with a fraction such as .120",
}
