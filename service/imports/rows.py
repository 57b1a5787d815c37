"""Rows of a manifest: NDJSON, CSV or Parquet, one at a time; for the service and for training."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from pydantic_core import from_json

from service.crop_values import csv_values, known_values, match_columns
from service.errors import InvalidInput

Format = Literal["ndjson", "csv", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
}
_MAX_LINE = 4 << 20
_PARQUET_BATCH = 256
_PARQUET_GROUP = 1 << 30
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
                yield from enumerate(_parquet(path, unknown, check_header), start=1)
            case "ndjson":
                with path.open("rb") as file:
                    yield from _ndjson(file, unknown)
            case "csv":
                with path.open("rb") as file:
                    yield from _csv(file, unknown, check_header)
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error


def count_rows(path: Path, format_: Format) -> int:
    """How many rows a manifest has.

    Args:
        path: the file.
        format_: how it is written.

    Raises:
        InvalidInput: the file as a whole cannot be read.
    """
    match format_:
        case "parquet":
            with _parquet_file(path) as file:
                return int(file.metadata.num_rows)
        case "ndjson":
            with path.open("rb") as lines:
                return sum(1 for line in lines if line.strip())
        case "csv":
            return sum(1 for _ in read_rows(path, format_))


def _ndjson(file: BinaryIO, ignored: set[str]) -> Iterator[tuple[int, Row]]:
    number = 0
    while line := file.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise InvalidInput(f"a line of more than {_MAX_LINE:,} bytes")
        if line.strip():
            yield number, _json_row(line.removeprefix(b"\xef\xbb\xbf"), ignored)


def _json_row(line: bytes, ignored: set[str]) -> Row:
    try:
        row = from_json(line)  # reads floats faster than json does
        if not isinstance(row, dict):
            return InvalidInput(f"{row!r:.80} is not an object: write {{...}}, one a line")
        # Of a name that occurs twice only the last value would be seen.
        if len(_KEY.findall(line)) > len(row):
            json.loads(line, object_pairs_hook=_require_distinct)
        return known_values(row, ignored)
    except InvalidInput as error:
        return error
    except (ValueError, RecursionError) as error:
        return InvalidInput(f"not JSON: {error}")


def _require_distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the name {twice[:80]!r} occurs twice in one object")
    return found


def _csv(file: BinaryIO, ignored: set[str], check_header: CheckHeader) -> Iterator[tuple[int, Row]]:
    # Bytes that are not UTF-8 cost their own row only.
    with TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        reader = csv.reader(text, skipinitialspace=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise InvalidInput(f"the header is not CSV: {error}") from error
        meaning = match_columns(header, ignored)
        check_header(meaning.values(), header)
        columns = [meaning.get(name) for name in header]
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, InvalidInput(f"not CSV: {error}")
                continue
            if cells:
                yield reader.line_num, _csv_row(columns, cells)


def _csv_row(columns: Sequence[str | None], cells: list[str]) -> Row:
    try:
        "".join(cells).encode()
        return csv_values(columns, cells)
    except UnicodeEncodeError:
        return InvalidInput("not UTF-8 text: save the file as UTF-8")
    except InvalidInput as error:
        return error


def _parquet(path: Path, ignored: set[str], check_header: CheckHeader) -> Iterator[Row]:
    with _parquet_file(path) as file:
        meaning = match_columns(file.schema_arrow.names, ignored)
        check_header(meaning.values(), file.schema_arrow.names)
        for batch in file.iter_batches(_PARQUET_BATCH, columns=list(meaning)):
            for row in _plain_rows(batch):
                yield {meaning[given]: value for given, value in row.items()}


def _plain_rows(batch: Any) -> list[dict[str, Any]]:
    """The rows of a record batch as Python's own values."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional extra

    def plain(column: Any) -> Any:
        # Python's datetime has no nanoseconds, and pyarrow refuses to drop them unasked.
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            return column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        return column

    columns = [plain(column) for column in batch.columns]
    try:
        rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(
            columns, names=batch.schema.names
        ).to_pylist()
    except ValueError as error:  # durations and times of day in nanoseconds
        raise InvalidInput(f"a column has values that cannot be read: {error}") from error
    return rows


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import (  # noqa: PLC0415 - an optional extra
            ArrowException,
            parquet,
        )
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "Parquet needs pyarrow, which is not installed here: pip install 'hhcl-reid[parquet]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _require_modest_groups(file.metadata)
            yield file
    except ArrowException as error:
        raise InvalidInput(f"not Parquet: {error}") from error


def _require_modest_groups(metadata: Any) -> None:
    """A small file can claim columns that unpack to more than there is memory."""
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if size > _PARQUET_GROUP:
            raise InvalidInput(
                f"row group {number} unpacks to {size:,} bytes: at most {_PARQUET_GROUP:,}"
            )
