"""A gallery's crops as CSV, NDJSON or Parquet, written page by page while the client reads.

An export walks the ids in order, as the pages of a listing do, and holds one page in memory. It is
not a snapshot: a crop added or deleted meanwhile may or may not be in it, every other crop is in it
exactly once. With embeddings, each page is read under the gallery's lock, so a crop and its
embedding always belong together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from fastapi import Request
from fastapi.responses import StreamingResponse

from service.errors import InvalidInput, Overloaded, TooManyRequests
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.http.crop_writers import MEDIA_TYPES, CropWriter, ExportFormat, Rows, writer_of
from service.machine.executors import ClientThreads

ListFormat = Literal["json", "csv", "ndjson", "parquet"]

_PAGE = 1000  # crops
_PAGE_WITH_EMBEDDINGS = 256  # crops; 2 MiB of 2,048 dimensions


def requested_format(asked: ListFormat | None, accept: str) -> ListFormat:
    """Choose the format of a listing: ``format`` if given, otherwise the best of ``Accept``.

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
    writer = writer_of(export.format, embeddings=export.embeddings)
    pieces = _pieces(export, writer)
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


def _pieces(export: Export, writer: CropWriter) -> Iterator[bytes]:
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
