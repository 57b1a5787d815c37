"""Crops as rows of CSV, NDJSON and Parquet.

NDJSON and Parquet keep every value. CSV is made for spreadsheets: a cell that one would run as a
formula gets an apostrophe in front.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from io import StringIO
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import Unsupported
from service.gallery.base import Crop

ExportFormat = Literal["csv", "ndjson", "parquet"]

MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS = ("crop_id", "identity", "camera", "track", "timestamp", "digest", "origin", "added")
EMBEDDING = "embedding"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one

Rows = NDArray[np.float32]


class CropWriter(Protocol):
    """Writes crops in one format, some rows at a time."""

    def write(self, crops: Sequence[Crop], embeddings: Rows | None) -> bytes:
        """The bytes of some rows."""
        ...

    def end(self) -> bytes:
        """The bytes after the last row."""
        ...


def writer_of(format_: ExportFormat, *, embeddings: bool) -> CropWriter:
    """Make a writer.

    Args:
        format_: what it writes.
        embeddings: whether the rows have embeddings.

    Raises:
        Unsupported: Parquet is asked for, and pyarrow is not installed.
    """
    match format_:
        case "csv":
            return _CsvWriter(embeddings=embeddings)
        case "ndjson":
            return _NdjsonWriter()
        case "parquet":
            return _ParquetWriter(embeddings=embeddings)


class _CsvWriter:
    def __init__(self, *, embeddings: bool) -> None:
        self._text = StringIO()
        self._csv = csv.writer(self._text)
        self._csv.writerow([*COLUMNS, EMBEDDING] if embeddings else COLUMNS)

    def write(self, crops: Sequence[Crop], embeddings: Rows | None) -> bytes:
        for index, crop in enumerate(crops):
            cells = [_harmless(getattr(crop, name)) for name in COLUMNS]
            if embeddings is not None:
                cells.append(_base64(embeddings[index]))
            self._csv.writerow(cells)
        return self._taken()

    def end(self) -> bytes:
        return self._taken()

    def _taken(self) -> bytes:
        taken = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return taken


class _NdjsonWriter:
    def write(self, crops: Sequence[Crop], embeddings: Rows | None) -> bytes:
        lines = []
        for index, crop in enumerate(crops):
            row: dict[str, Any] = {name: getattr(crop, name) for name in COLUMNS}
            if embeddings is not None:
                row[EMBEDDING] = _base64(embeddings[index])
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        return "".join(lines).encode()

    def end(self) -> bytes:
        return b""


class _ParquetWriter:
    """Writes one row group per page; only their descriptions stay in memory, for the footer."""

    def __init__(self, *, embeddings: bool) -> None:
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - optional extra
            from pyarrow import parquet  # noqa: PLC0415 - optional extra
        except ModuleNotFoundError as error:
            raise Unsupported(
                "Parquet needs pyarrow, which is not installed here: pip install "
                "'hhcl-reid[parquet]', or ask for csv or ndjson"
            ) from error
        kinds = dict.fromkeys(COLUMNS, pa.string()) | {
            "timestamp": pa.float64(),
            "added": pa.float64(),
        }
        if embeddings:
            kinds[EMBEDDING] = pa.list_(pa.float32())
        self._pa, self._schema, self._sink = pa, pa.schema(kinds), _Sink()
        self._file = parquet.ParquetWriter(self._sink, self._schema)

    def write(self, crops: Sequence[Crop], embeddings: Rows | None) -> bytes:
        columns = {name: [getattr(crop, name) for crop in crops] for name in COLUMNS}
        if embeddings is not None:
            ends = np.arange(len(crops) + 1, dtype=np.int32) * embeddings.shape[1]
            columns[EMBEDDING] = self._pa.ListArray.from_arrays(ends, embeddings.ravel())
        if crops:
            self._file.write_table(self._pa.table(columns, schema=self._schema))
        return self._sink.taken()

    def end(self) -> bytes:
        self._file.close()
        return self._sink.taken()


class _Sink:
    """What Arrow writes into: hands out what came since the last time."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Arrow closes what it wrote; what it wrote is still to be handed out."""

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _harmless(value: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _base64(row: Rows) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
