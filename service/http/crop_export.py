"""A gallery's crops as CSV, NDJSON or Parquet, written page by page while the client reads.

An export walks the ids in order, as the pages of a listing do, and holds one page in memory. It is
not a snapshot: a crop added or deleted meanwhile may or may not be in it, every other crop is in it
exactly once. With embeddings, each page is read under the gallery's lock, so a crop and its
embedding always belong together.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal, Protocol

import numpy as np
from fastapi import Request
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from service.errors import InvalidInput, Overloaded, TooManyRequests, Unsupported
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.machine.executors import ClientThreads

ExportFormat = Literal["csv", "ndjson", "parquet"]
ListFormat = Literal["json", "csv", "ndjson", "parquet"]

MEDIA_TYPES: dict[ExportFormat, str] = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
COLUMNS = ("crop_id", "identity", "camera", "timestamp", "digest", "origin", "added")
EMBEDDING = "embedding"

_PAGE = 1000  # crops
_PAGE_WITH_EMBEDDINGS = 256  # crops; 2 MiB of 2,048 dimensions
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one

Rows = NDArray[np.float32]


def requested_format(asked: ListFormat | None, accept: str) -> ListFormat:
    """The format of a listing: ``format`` if it is given, otherwise what ``Accept`` likes best.

    Args:
        asked: the parameter ``format``.
        accept: the header ``Accept``, empty if there is none.

    Returns:
        ``json`` or an :data:`ExportFormat`; ``json`` if the header names none of them.
    """
    if asked is not None:
        return asked
    known: dict[str, ListFormat] = {media: name for name, media in MEDIA_TYPES.items()}
    known["application/json"] = "json"
    found: ListFormat = "json"
    best = 0.0
    for entry in accept.split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if media in known and quality > best:
            best, found = quality, known[media]
    return found


def require_exportable(format_: ListFormat, *, paged: bool, embeddings: bool) -> None:
    """Reject options that contradict the format of a listing.

    Args:
        format_: of the listing.
        paged: whether ``limit`` or ``cursor`` is given.
        embeddings: whether embeddings are asked for.

    Raises:
        InvalidInput: the message says which option to leave out.
    """
    if format_ != "json" and paged:
        raise InvalidInput("csv, ndjson and parquet hold every crop: leave out limit and cursor")
    if embeddings and format_ == "json":
        raise InvalidInput("embeddings needs format=csv, ndjson or parquet")


def _quality(parameters: Sequence[str]) -> float:
    given = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Export:
    """What an export contains.

    Attributes:
        gallery: whose crops.
        where: which of them.
        format: how they are written.
        embeddings: whether each row has its embedding.
    """

    gallery: Gallery
    where: Filter
    format: ExportFormat
    embeddings: bool


async def export_response(
    export: Export, request: Request, threads: ClientThreads
) -> StreamingResponse:
    """Answer with an export; the first page is read before the answer begins.

    Args:
        export: what it contains.
        request: a ``HEAD`` gets the headers only.
        threads: where pages are read and written out.

    Returns:
        A streamed answer. A failure after its start breaks the connection.

    Raises:
        Unsupported: Parquet is asked for, and pyarrow is not installed.
        ReidError: the gallery cannot be read.
    """
    pieces = _pieces(export, _writer(export))
    first = None if request.method == "HEAD" else await threads.run(next, pieces, None)
    name = f"{export.gallery.name}-crops.{export.format}"
    return StreamingResponse(
        _streamed(first, pieces, threads),
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"},
        media_type=MEDIA_TYPES[export.format],
    )


async def _streamed(
    first: bytes | None, pieces: Iterator[bytes], threads: ClientThreads
) -> AsyncIterator[bytes]:
    piece = first
    while piece is not None:
        yield piece
        piece = await _next(pieces, threads)


async def _next(pieces: Iterator[bytes], threads: ClientThreads) -> bytes | None:
    while True:  # until the client leaves, which cancels this
        try:
            return await threads.run(next, pieces, None)
        except (TooManyRequests, Overloaded) as error:
            # The answer has begun, so no status can say this any more: wait in its place.
            await asyncio.sleep(error.retry_after)


def _pieces(export: Export, writer: _Writer) -> Iterator[bytes]:
    for crops, embeddings in _pages(export):
        yield writer.write(crops, embeddings)
    yield writer.end()


def _pages(export: Export) -> Iterator[tuple[Sequence[Crop], Rows | None]]:
    gallery, cursor = export.gallery, None
    limit = _PAGE_WITH_EMBEDDINGS if export.embeddings else _PAGE
    while True:
        with gallery.changing() if export.embeddings else nullcontext():
            page = gallery.page(export.where, limit, cursor)
            rows = None
            if export.embeddings:
                rows = gallery.embeddings([crop.crop_id for crop in page.crops])
        yield page.crops, rows
        cursor = page.cursor
        if cursor is None:
            return


class _Writer(Protocol):
    def write(self, crops: Sequence[Crop], embeddings: Rows | None) -> bytes:
        """The bytes of some rows."""
        ...

    def end(self) -> bytes:
        """The bytes after the last row."""
        ...


def _writer(export: Export) -> _Writer:
    match export.format:
        case "csv":
            return _CsvWriter(embeddings=export.embeddings)
        case "ndjson":
            return _NdjsonWriter()
        case "parquet":
            return _ParquetWriter(embeddings=export.embeddings)


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
