"""Read values of manifests and patterns: identity, camera, track, crop id and path.

The service and training share this reader, so a row means the same person on the same camera to
both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from service.errors import InvalidInput
from service.values.names import id_of, name_of, normal_form

COLUMNS = frozenset(
    {
        *("path", "crop_id", "identity", "camera", "track", "timestamp", "zone", "embedding"),
        *("split", "frame"),  # of training
    }
)
"""Every column that the service or training uses."""

UNKNOWN_MARK = "-1"
"""What data sets write for an unknown person, camera or track."""

DOUBTFUL = frozenset(
    {"nan", "NaN", "NAN", "null", "NULL", "None", "NaT", "NA", "<NA>", "N/A", "#N/A", "undefined"}
)
"""What programs write for a missing value; read as a name it would merge many people into one."""

_CSV_NUMBER = re.compile(r"(?P<whole>-?(0|[1-9][0-9]*))\.0+")
_CSV_MISSING = frozenset({"nan", "NaN"})
_CSV_NAMES = ("identity", "camera", "track", "frame")
_EXACT = 2**53  # from here on a JSON number does not identify a whole number
_MOST_IGNORED = 50


class Untyped(str):
    """A text from a file format without types."""

    __slots__ = ()


def is_missing(value: object) -> bool:
    """Whether a value is missing: absent, null, empty, or not a number."""
    match value:
        case None:
            return True
        case str():
            return not normal_form(value)
        case float() | datetime():
            return value != value  # noqa: PLR0124 - NaN and NaT are not equal to themselves
        case Decimal():
            return value.is_nan()
        case _:
            return False


def read_name(column: str, value: object) -> str | None:
    """Read the name of an identity, a camera or a track.

    Args:
        column: the value's place, for messages.
        value: a text, or a whole number.

    Returns:
        The name in its normal form; None if the value is missing or ``-1``.

    Raises:
        InvalidInput: it is neither, or the text is not a valid name.
    """
    text = _text(column, value)
    if text is None or text == UNKNOWN_MARK:
        return None
    if isinstance(value, Untyped) and text in DOUBTFUL:
        raise InvalidInput(
            f"{column}: {text!r} may be a name, or may mean a missing value, which CSV cannot "
            "distinguish: leave the value empty if it is unknown, use NDJSON if it is a name"
        )
    try:
        return name_of(text)
    except ValueError as error:
        raise InvalidInput(f"{column}: {shown(value)}: {error}") from error


def read_id(column: str, value: object) -> str | None:
    """Read a crop's id, like :func:`read_name`; only a missing value gives None."""
    text = _text(column, value)
    try:
        return None if text is None else id_of(text)
    except ValueError as error:
        raise InvalidInput(f"{column}: {shown(value)}: {error}") from error


def read_path(value: object) -> str | None:
    """Read a file's path.

    Args:
        value: a text; a backslash separates folders, as on Windows.

    Returns:
        The path with forward slashes; None if it is missing.

    Raises:
        InvalidInput: it is not a text.
    """
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"column path: must be a text, got {shown(value)}")
    return value.replace("\\", "/")


def match_columns(names: Iterable[str], ignored: set[str]) -> dict[str, str]:
    """Match the columns of a manifest, regardless of upper case and blanks around names.

    Args:
        names: the names in the manifest.
        ignored: unknown names are added here.

    Returns:
        The known columns by their name in the manifest.

    Raises:
        InvalidInput: two columns have the same name.
    """
    found: dict[str, str] = {}
    seen: dict[str, str] = {}
    for given in names:
        name = normal_form(given).casefold()
        if name and name in seen:
            raise InvalidInput(f"the columns {seen[name]!r} and {given!r} have the same name")
        seen[name] = given
        if name in COLUMNS:
            found[given] = name
        elif len(ignored) < _MOST_IGNORED:
            ignored.add(normal_form(given)[:80] or "(no name)")
    return found


def known_values(row: Mapping[str, Any], ignored: set[str]) -> Mapping[str, Any]:
    """The values of a row by known column. Args and Raises: see :func:`match_columns`."""
    if row.keys() <= COLUMNS:
        return row
    return {column: row[given] for given, column in match_columns(row, ignored).items()}


def csv_values(columns: Collection[str | None], cells: list[str]) -> dict[str, str]:
    """Read the values of a CSV line, which has no types.

    If a number is missing, programs turn the whole column into floats and write ``12.0`` and
    ``nan``; these are read as the number 12 and as missing.

    Args:
        columns: the column of each cell; None if it is unknown.
        cells: the texts.

    Returns:
        The values by column, without blanks around them.

    Raises:
        InvalidInput: there are more cells than columns.
    """
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise InvalidInput(
            f"{len(cells)} cells for {len(columns)} columns: a value that contains a comma must be "
            "in quotes"
        )
    values = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is None:
            continue
        text = cell.strip()
        if column in _CSV_NAMES and (number := _CSV_NUMBER.fullmatch(text)):
            text = number["whole"]
        missing = text in _CSV_MISSING and column != "path"
        values[column] = "" if missing else Untyped(text)
    return values


def _text(column: str, value: object) -> str | None:
    """Turn a value into a text; each whole number has one spelling."""
    if is_missing(value):
        return None
    match value:
        case str():
            return normal_form(value)
        case int() | float() | Decimal() if not isinstance(value, bool):
            return _whole(column, value)
        case _:
            raise InvalidInput(
                f"{column}: must be a text or a whole number, got {shown(value)}; leave it out if "
                "it is unknown"
            )


def _whole(column: str, number: float | Decimal) -> str:
    if not isinstance(number, int):
        if not abs(float(number)) < _EXACT:
            raise InvalidInput(f"{column}: {shown(number)} is too large; write it as a text")
        if number != int(number):
            raise InvalidInput(
                f"{column}: {shown(number)} is not a whole number; write it as a text if it is a "
                "name"
            )
    try:
        return str(int(number))
    except ValueError as error:  # Python refuses to print numbers of thousands of digits
        raise InvalidInput(f"{column}: a number of thousands of digits is not a name") from error


def shown(value: object) -> str:
    """A value for a message, at most 80 characters long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print numbers of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
