"""Read rows of a Parquet file, which may state or contain excessive sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import InvalidInput
from service.ingest.crop_values import match_columns
from service.ingest.parquet_values import values_of

MAX_COLUMNS = 10_000
_BATCH = 256
_GROUP = 1 << 30
_MAX_FOOTER = 16 << 20  # parsed as a whole, into several times as much memory
_MAX_FIXED = 4096  # bytes per value of a fixed-size column
_MAGIC = b"PAR1"
_TAIL = 8

Row = Mapping[str, Any] | InvalidInput


def parquet_rows(
    path: Path,
    ignored: set[str],
    check_header: Callable[[Collection[str], Sequence[str]], None],
) -> Iterator[Row]:
    """Read a Parquet file; see :func:`service.ingest.rows.read_rows`."""
    with _opened(path) as plain:
        meaning = match_columns(plain.schema_arrow.names, ignored)
        check_header(meaning.values(), plain.schema_arrow.names)
        texts = _text_leaves(plain.schema, meaning)
    # Dictionary encoding keeps one copy of a text that repeats.
    with _opened(path, texts) as file:
        for batch in file.iter_batches(_BATCH, columns=list(meaning), use_threads=False):
            columns = {
                known: values_of(known, batch.column(name)) for name, known in meaning.items()
            }
            for index in range(len(batch)):
                yield _row(columns, index)


def count_parquet_rows(path: Path) -> int:
    """The number of rows that a Parquet file states. Raises InvalidInput."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path, texts: Sequence[str] = ()) -> Iterator[Any]:
    try:
        from pyarrow import (  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional extra
            ArrowException,
            parquet,
        )
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "Parquet needs pyarrow, which is not installed here: pip install 'hhcl-reid[parquet]'"
        ) from error
    _require_short_footer(path)
    try:
        with parquet.ParquetFile(
            path, read_dictionary=list(texts), thrift_string_size_limit=_MAX_FOOTER
        ) as file:
            _require_modest(file.metadata)
            yield file
    except MemoryError:  # Arrow's own memory error is also an ArrowException
        raise
    except ArrowException as error:
        raise InvalidInput(f"not Parquet: {str(error)[:500]}") from error


def _require_short_footer(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _TAIL, 0))
        tail = file.read(_TAIL)
    if len(tail) < _TAIL or tail[4:] != _MAGIC:
        raise InvalidInput("not Parquet: the file does not end like one")
    footer = int.from_bytes(tail[:4], "little")
    if footer > _MAX_FOOTER:
        raise InvalidInput(
            f"not Parquet: the footer has {footer:,} bytes, at most {_MAX_FOOTER:,} are allowed"
        )


def _require_modest(metadata: Any) -> None:
    """Reject files that state excessive sizes; values are measured while they are read."""
    if metadata.num_columns > MAX_COLUMNS:
        raise InvalidInput(f"{metadata.num_columns:,} columns: at most {MAX_COLUMNS:,}")
    for number in range(metadata.num_row_groups):
        size = metadata.row_group(number).total_byte_size
        if size > _GROUP:
            raise InvalidInput(f"row group {number} unpacks to {size:,} bytes: at most {_GROUP:,}")


def _text_leaves(schema: Any, meaning: Mapping[str, str]) -> list[str]:
    """Paths of the columns, and parts of columns, that contain texts."""
    found = []
    for number in range(len(schema)):
        leaf = schema.column(number)
        if leaf.path.partition(".")[0] not in meaning and leaf.path not in meaning:
            continue
        if leaf.physical_type == "BYTE_ARRAY":
            found.append(leaf.path)
        elif leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" and leaf.length > _MAX_FIXED:
            raise InvalidInput(
                f"column {leaf.path[:80]}: {leaf.length:,} bytes per value, at most {_MAX_FIXED:,}"
            )
    return found


def _row(columns: Mapping[str, Callable[[int], Any]], index: int) -> Row:
    try:
        return {name: value(index) for name, value in columns.items()}
    except InvalidInput as error:
        return error
