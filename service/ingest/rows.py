"""Rows of a manifest: NDJSON, CSV or Parquet, one at a time; for the service and for training."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic_core import from_json

from service.errors import InvalidInput
from service.ingest.crop_values import csv_values, known_values, match_columns
from service.ingest.lines import Lines
from service.ingest.parquet import MAX_COLUMNS, count_parquet_rows, parquet_rows

Format = Literal["ndjson", "csv", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
}
_KEY = re.compile(rb'"\s*:')

Row: TypeAlias = Mapping[str, Any] | InvalidInput
CheckHeader: TypeAlias = Callable[[Collection[str], Sequence[str]], None]
"""Refuses the columns of a table: those that mean something, and all as the file has them."""


def format_of(path: Path) -> Format:
    """The format of a manifest by its suffix. Raises InvalidInput."""
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidInput(f"{path.name}: its suffix is none of {', '.join(_SUFFIXES)}")
    return found


def require_source(columns: Collection[str], header: Sequence[str]) -> None:
    """Accept a table that says where the crops come from. Raises InvalidInput."""
    if not {"path", "embedding"} & set(columns):
        raise InvalidInput(
            "the first line has to name the columns, path or embedding among them; it has "
            f"{list(header)!r:.200}"
        )


def read_rows(
    path: Path,
    format_: Format,
    ignored: set[str] | None = None,
    check_header: CheckHeader = require_source,
) -> Iterator[Row]:
    """Read a manifest.

    Args:
        path: the file.
        format_: how it is written.
        ignored: receives the names of columns that mean nothing to either program.
        check_header: accepts the columns of a CSV or Parquet file.

    Yields:
        The values of a row by column, or what is wrong with it; the rows after it follow.

    Raises:
        InvalidInput: the file as a whole cannot be read.
    """
    for _, row in lines_and_rows(path, format_, ignored, check_header):
        yield row


def lines_and_rows(
    path: Path,
    format_: Format,
    ignored: set[str] | None = None,
    check_header: CheckHeader = require_source,
) -> Iterator[tuple[int, Row]]:
    """As :func:`read_rows`, each row with the line of the file on which it ends, from 1."""
    unknown: set[str] = set() if ignored is None else ignored
    try:
        match format_:
            case "parquet":
                yield from enumerate(parquet_rows(path, unknown, check_header), start=1)
            case "ndjson":
                with path.open("rb") as file:
                    yield from _ndjson(Lines(file), unknown)
            case "csv":
                with path.open("rb") as file:
                    yield from _csv(Lines(file, returns=True), unknown, check_header)
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error


def count_rows(path: Path, format_: Format, most: int | None = None) -> int:
    """How many rows a manifest has; as bounded as reading them.

    Args:
        path: the file.
        format_: how it is written.
        most: counting ends here; None counts all.

    Raises:
        InvalidInput: the file as a whole cannot be read.
    """
    match format_:
        case "parquet":
            count = count_parquet_rows(path)
            return count if most is None else min(count, most)
        case "ndjson":
            with path.open("rb") as file:
                return sum(1 for _ in islice(_filled(Lines(file)), most))
        case "csv":
            return sum(1 for _ in islice(read_rows(path, format_), most))


def _filled(lines: Lines) -> Iterator[bytes]:
    """The lines that are not blank, each of them a row."""
    for line in lines:
        lines.begin_row()
        if line.strip():
            yield line


def _ndjson(lines: Lines, ignored: set[str]) -> Iterator[tuple[int, Row]]:
    for line in _filled(lines):
        yield lines.number, _json_row(line.removeprefix(b"\xef\xbb\xbf"), ignored)


def _json_row(line: bytes, ignored: set[str]) -> Row:
    try:
        row = from_json(line)  # reads floats faster than json does
        if not isinstance(row, dict):
            return InvalidInput(f"{row!r:.80} is not an object: write {{...}}, one a line")
        _require_few_columns(row)
        # Of a name that occurs twice only the last value would be seen.
        if sum(1 for _ in _KEY.finditer(line)) > len(row):
            json.loads(line, object_pairs_hook=_require_distinct)
        return known_values(row, ignored)
    except InvalidInput as error:
        return error
    except (ValueError, RecursionError) as error:
        return InvalidInput(f"not JSON: {error}")


def _require_few_columns(names: Collection[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(f"{len(names):,} columns: at most {MAX_COLUMNS:,}")


def _require_distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput(f"the name {name[:80]!r} occurs twice in one object")
        found[name] = value
    return found


def _csv(lines: Lines, ignored: set[str], check_header: CheckHeader) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(_texts(lines), skipinitialspace=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InvalidInput(f"the header is not CSV: {error}") from error
    _require_few_columns(header)
    meaning = match_columns(header, ignored)
    check_header(meaning.values(), header)
    columns = [meaning.get(name) for name in header]
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, InvalidInput(f"not CSV: {error}")
            continue
        if cells:
            yield reader.line_num, _csv_row(columns, cells)


def _texts(lines: Lines) -> Iterator[str]:
    # Bytes that are not UTF-8 cost their own row only.
    for line in lines:
        text = line.removeprefix(b"\xef\xbb\xbf") if lines.number == 1 else line
        yield text.decode("utf-8", "surrogateescape")


def _csv_row(columns: Sequence[str | None], cells: list[str]) -> Row:
    try:
        "".join(cells).encode()
        return csv_values(columns, cells)
    except UnicodeEncodeError:
        return InvalidInput("not UTF-8 text: save the file as UTF-8")
    except InvalidInput as error:
        return error
