"""Values of manifests and of patterns: who is shown, by which camera, under which id.

The one reader of such values, for the service and for training: the same row means the same person
on the same camera to both.
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
    {"path", "crop_id", "identity", "camera", "timestamp", "zone", "split", "embedding"}
)
"""Every column that means something to one of the two programs."""

UNKNOWN_MARK = "-1"
"""What data sets write for a person or a camera that nobody knows."""

DOUBTFUL = frozenset(
    {"nan", "NaN", "NAN", "null", "NULL", "None", "NaT", "NA", "<NA>", "N/A", "#N/A", "undefined"}
)
"""What programs write for a value that is not there; as a name it makes one person of many."""

_CSV_NUMBER = re.compile(r"(?P<whole>-?(0|[1-9][0-9]*))\.0+")
_CSV_MISSING = frozenset({"nan", "NaN"})
_CSV_NAMES = ("identity", "camera")
_EXACT = 2**53  # from here on a JSON number no longer says which whole number was meant
_MOST_IGNORED = 50


class Untyped(str):
    """A text of a file that knows no types."""

    __slots__ = ()


def is_missing(value: object) -> bool:
    """Whether a value says that nothing is known: absent, null, empty, or not a number."""
    match value:
        case None:
            return True
        case str():
            return not normal_form(value)
        case float() | datetime():
            return value != value  # noqa: PLR0124 - NaN and NaT differ from themselves
        case Decimal():
            return value.is_nan()
        case _:
            return False


def read_name(column: str, value: object) -> str | None:
    """Read who is shown, or by which camera.

    Args:
        column: where the value stands, for messages.
        value: a text, or a whole number.

    Returns:
        The name in its normal form; None if the value is missing or ``-1``.

    Raises:
        InvalidInput: it is neither, or the text can be no name.
    """
    text = _text(column, value)
    if text is None or text == UNKNOWN_MARK:
        return None
    if isinstance(value, Untyped) and text in DOUBTFUL:
        raise InvalidInput(
            f"{column}: {text!r} is a name, or what a program wrote for a missing value, and CSV "
            "cannot tell which: leave the value empty if it is unknown, use NDJSON if it is a name"
        )
    try:
        return name_of(text)
    except ValueError as error:
        raise InvalidInput(f"{column}: {shown(value)}: {error}") from error


def read_id(column: str, value: object) -> str | None:
    """Read a crop's id. As :func:`read_name`, but only a missing value gives None."""
    text = _text(column, value)
    try:
        return None if text is None else id_of(text)
    except ValueError as error:
        raise InvalidInput(f"{column}: {shown(value)}: {error}") from error


def read_path(value: object) -> str | None:
    """Read a file's path.

    Args:
        value: a text; a backslash separates folders, as Windows writes it.

    Returns:
        The path with forward slashes, otherwise as it stands; None if it is missing.

    Raises:
        InvalidInput: it is no text.
    """
    if is_missing(value):
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"column path: {shown(value)} must be a text")
    return value.replace("\\", "/")


def match_columns(names: Iterable[str], ignored: set[str]) -> dict[str, str]:
    """Match the columns of a manifest, blanks around them and capitals aside.

    Args:
        names: as the manifest has them.
        ignored: receives the names that mean nothing here.

    Returns:
        Names of the manifest, each with the column it means.

    Raises:
        InvalidInput: two of them have the same name.
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
            ignored.add(normal_form(given)[:80] or "(without a name)")
    return found


def known_values(row: Mapping[str, Any], ignored: set[str]) -> Mapping[str, Any]:
    """The values of a row by the columns they mean. Args and raises as :func:`match_columns`."""
    if row.keys() <= COLUMNS:
        return row
    return {column: row[given] for given, column in match_columns(row, ignored).items()}


def csv_values(columns: Collection[str | None], cells: list[str]) -> dict[str, str]:
    """The values of a line of CSV, which knows no types.

    A column of numbers in which one is missing is written as ``12.0`` and ``nan`` by programs that
    hold it as floats; so these are the number and nothing.

    Args:
        columns: what each cell means; None for one that means nothing.
        cells: the texts.

    Returns:
        The values by column, without blanks around them.

    Raises:
        InvalidInput: there are more cells than columns.
    """
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise InvalidInput(
            f"{len(cells)} cells for {len(columns)} columns: a value that holds a comma needs "
            "quotes around it"
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
    """A value as a text; whole numbers have one spelling."""
    if is_missing(value):
        return None
    match value:
        case str():
            return normal_form(value)
        case int() | float() | Decimal() if not isinstance(value, bool):
            return _whole(column, value)
        case _:
            raise InvalidInput(
                f"{column}: {shown(value)} is neither a text nor a whole number; leave it out if "
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
    except ValueError as error:  # Python prints no number of thousands of digits
        raise InvalidInput(f"{column}: a number of thousands of digits is no name") from error


def shown(value: object) -> str:
    """A value as a message shows it, never at length."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no number of thousands of digits
        text = "an endless number"
    return text if len(text) <= 80 else f"{text[:77]}..."
