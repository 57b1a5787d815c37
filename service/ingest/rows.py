"""Read the rows of a manifest (NDJSON, CSV or Parquet) one by one, for service and training."""

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
"""Accepts or rejects the columns of a table: the known ones, and all as the file names them."""


def format_of(path: Path) -> Format:
    """The format of a manifest, from its suffix. Raises InvalidInput."""
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidInput(f"{path.name}: the suffix must be one of {', '.join(_SUFFIXES)}")
    return found


def require_source(columns: Collection[str], header: Sequence[str]) -> None:
    """Require a column that says where the crops come from. Raises InvalidInput."""
    if not {"path", "embedding"} & set(columns):
        raise InvalidInput(
            "the first line must name the columns, including path or embedding; it is "
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
        format_: its format.
        ignored: the names of unknown columns are added here.
        check_header: accepts or rejects the columns of a CSV or Parquet file.

    Yields:
        The values of a row by column, or what is wrong with this row.

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
    """Like :func:`read_rows`, each row with the number of its last line, from 1."""
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
    """Count the rows of a manifest, with the same limits as for reading them.

    Args:
        path: the file.
        format_: its format.
        most: stop counting here; None counts all.

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
    """The lines that are not blank; each is a row."""
    for line in lines:
        lines.begin_row()
        if not line.isspace():
            yield line


def _ndjson(lines: Lines, ignored: set[str]) -> Iterator[tuple[int, Row]]:
    for line in _filled(lines):
        yield lines.number, _json_row(line.removeprefix(b"\xef\xbb\xbf"), ignored)


def _json_row(line: bytes, ignored: set[str]) -> Row:
    try:
        row = from_json(line)  # reads floats faster than json does
        if not isinstance(row, dict):
            return InvalidInput(f"must be a JSON object {{...}}, one per line, got {row!r:.80}")
        _require_few_columns(row)
        # If a name occurs twice, the parser keeps only the last value.
        if sum(1 for _ in _KEY.finditer(line)) > len(row):
            json.loads(line, object_pairs_hook=_require_distinct)
        return known_values(row, ignored)
    except InvalidInput as error:
        return error
    except (ValueError, RecursionError) as error:
        return InvalidInput(f"not JSON: {error}")


def _require_few_columns(names: Collection[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise InvalidInput(f"{len(names):,} columns: at most {MAX_COLUMNS:,} are allowed")


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
    # Bytes that are not UTF-8 invalidate only their own row.
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
