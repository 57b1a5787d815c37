"""Rows of a manifest: NDJSON, CSV or Parquet, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from pydantic_core import from_json

from service.errors import InvalidInput

Format = Literal["ndjson", "csv", "parquet"]
FIELDS = ("path", "crop_id", "identity", "camera", "timestamp", "embedding")

_SUFFIXES: dict[str, Format] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
}
_MAX_LINE = 4 << 20
_PARQUET_BATCH = 256
_PARQUET_GROUP = 1 << 30

Row: TypeAlias = dict[str, Any] | InvalidInput


def format_of(path: Path) -> Format:
    """The format of a manifest by its suffix. Raises InvalidInput."""
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidInput(f"{path.name}: its suffix is none of {', '.join(_SUFFIXES)}")
    return found


def read_rows(path: Path, format_: Format) -> Iterator[Row]:
    """Read a manifest.

    Args:
        path: the file.
        format_: how it is written.

    Yields:
        A row, or what is wrong with it; the rows after it follow.

    Raises:
        InvalidInput: the file as a whole cannot be read.
    """
    try:
        match format_:
            case "parquet":
                yield from _parquet(path)
            case "ndjson":
                with path.open("rb") as file:
                    yield from ndjson_rows(file)
            case "csv":
                with path.open("rb") as file:
                    yield from _csv(file)
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


def ndjson_rows(file: BinaryIO) -> Iterator[Row]:
    """Read NDJSON: one JSON object a line.

    Args:
        file: at its start.

    Yields:
        A row, or what is wrong with it.

    Raises:
        InvalidInput: a line is longer than 4 MiB.
    """
    while line := file.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise InvalidInput(f"a line of more than {_MAX_LINE:,} bytes")
        if line.strip():
            yield _json_row(line)


def _json_row(line: bytes) -> Row:
    try:
        row = from_json(line.removeprefix(b"\xef\xbb\xbf"))  # reads floats faster than json does
    except ValueError as error:
        return InvalidInput(f"not JSON: {error}")
    return row if isinstance(row, dict) else InvalidInput("not a JSON object")


def _csv(file: BinaryIO) -> Iterator[Row]:
    # Bytes that are not UTF-8 cost their own row, which then names a file that is not there.
    with TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        reader = csv.DictReader(text)
        _require_header(reader)
        while True:
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield InvalidInput(f"not CSV: {error}")


def _require_header(reader: csv.DictReader[str]) -> None:
    try:
        names = reader.fieldnames or ()
    except csv.Error as error:
        raise InvalidInput(f"the header is not CSV: {error}") from error
    if not {"path", "embedding"} & set(names):
        raise InvalidInput("the first line has to name the columns, path or embedding among them")


def _parquet(path: Path) -> Iterator[Row]:
    with _parquet_file(path) as file:
        columns = [name for name in FIELDS if name in file.schema_arrow.names]
        if not {"path", "embedding"} & set(columns):
            raise InvalidInput("there is neither a column path nor a column embedding")
        for batch in file.iter_batches(_PARQUET_BATCH, columns=columns):
            yield from batch.to_pylist()


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import (  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional extra
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
