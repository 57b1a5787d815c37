"""``POST /galleries/{gallery}/imports``: many crops at once, as a job."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import StringConstraints, ValidationError
from starlette.requests import ClientDisconnect

from service.api.imports import MAX_PATTERN, MAX_ZONE, MAX_ZONES, ImportBody, zones_of
from service.api.jobs import JobRecord
from service.errors import (
    Conflict,
    InvalidInput,
    ModelMismatch,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from service.http.dependencies import CallerOf, PartsOf
from service.http.problems import responses
from service.http.records import job_record
from service.imports.formats import (
    CONTENT_TYPES,
    OCTETS,
    ImportFormat,
    declared_kind,
    is_gzip,
    settle,
)
from service.imports.importer import RECEIVED, check_folder, unbound
from service.imports.member_names import known_encoding
from service.imports.spooling import receive
from service.ingest.crop_names import naming_of
from service.ingest.name_layouts import LayoutName
from service.ingest.reading import Zones
from service.jobs.job import Job, Order
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/imports", tags=["jobs"])

_JSON = "application/json"
_MAX_JSON = 1 << 16
_READ_AWAY, _READ_AWAY_SECONDS = 1 << 20, 2.0
_PARAMETERS = ("pattern", "layout", "encoding", "zone", "zones")
_ERRORS = (
    *(NotFound, TooLarge, Conflict, ModelMismatch, TooManyRequests),
    *(Overloaded, Unavailable, StorageFull),
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": ImportBody.model_json_schema()},
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in (*CONTENT_TYPES, OCTETS)
            },
        },
    }
}

Pattern = Annotated[
    str | None,
    Query(
        max_length=MAX_PATTERN,
        description="of an archive: regular expression on the members' paths with groups identity, "
        "camera, timestamp, crop_id. Without pattern and layout, the manifest.ndjson, .jsonl, .csv "
        "or .parquet in the archive is used, or else Market-1501 names are read",
    ),
]
Layout = Annotated[
    LayoutName | None,
    Query(description="of an archive: built-in layout of the members' names, such as mars"),
]
Encoding = Annotated[
    str | None,
    Query(
        max_length=40,
        description="of an archive: encoding of the members' names that are not UTF-8, such as "
        "cp437, cp850, cp1252, shift_jis or gbk",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="asking again with the same key and content answers the job of the first time",
    ),
]


ZoneOfAll = Annotated[
    str | None,
    Query(
        max_length=100,
        description="whose clocks the times without a zone were read from, such as Europe/Berlin "
        "or +01:00 (%2B01:00 in a URL); UTC is taken, and said, if it is absent",
    ),
]
ZonesOfCameras = Annotated[
    list[Annotated[str, StringConstraints(max_length=MAX_ZONE)]] | None,
    Query(
        max_length=MAX_ZONES,
        description="zone of a single camera, as CAMERA=ZONE; repeat the parameter for more",
    ),
]


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What accompanies the body of an import."""

    pattern: Pattern = None
    layout: Layout = None
    encoding: Encoding = None
    zone: ZoneOfAll = None
    zones: ZonesOfCameras = None
    idempotency_key: IdempotencyKey = None


@router.post("", status_code=202, responses=responses(*_ERRORS), openapi_extra=_BODY)
async def start_import(
    gallery: str,
    request: Request,
    parts: PartsOf,
    caller: CallerOf,
    response: Response,
    wish: Annotated[ImportWish, Depends()],
) -> JobRecord:
    """Import a folder of the server, an archive, or a manifest.

    The job has the progress, and the reasons of single files that could not be used. Crops that are
    there already with the same bytes and metadata are skipped, so an import may be repeated.
    """
    await parts.executors.reads.run(parts.shelf.open, parts.store, gallery)
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    key, owner, client = wish.idempotency_key, caller.key_id, request.state.client
    if content_type == _JSON:
        for name in _PARAMETERS:
            if getattr(wish, name) is not None:
                raise InvalidInput(f"{name} belongs into the JSON body of a server folder")
        spec = {**await _folder_spec(request), **unbound(caller)}
        order = Order("import", gallery, spec, None, key, owner, client)
        await parts.executors.reads.run(check_folder, parts.settings, order)
        job = await parts.executors.bookkeeping.run(parts.board.place, order)
    else:
        coming = _Coming(
            declared_kind(content_type), is_gzip(request.headers.get("Content-Encoding", ""))
        )
        spec = {**_archive_spec(wish), **unbound(caller)}
        order = Order("import", gallery, spec, None, key, owner, client)
        job = await _receive(request, parts, order, coming)
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job_record(job)


@dataclass(frozen=True, slots=True)
class _Coming:
    """What a sender says of the body."""

    declared: ImportFormat | None
    encoded: bool


def _archive_spec(wish: ImportWish) -> dict[str, Any]:
    naming_of(wish.pattern, wish.layout)
    more = {
        "layout": wish.layout,
        "encoding": known_encoding(wish.encoding),
        "zone": wish.zone,
        "zones": zones_of(wish.zones or ()),
    }
    Zones.read(wish.zone)
    return {"pattern": wish.pattern, **{name: value for name, value in more.items() if value}}


async def _folder_spec(request: Request) -> dict[str, Any]:
    try:
        body = ImportBody.model_validate_json(await _small_body(request))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in errors]
        ) from error
    return {"source": "folder", **body.model_dump()}


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > _MAX_JSON:
            raise TooLarge(
                f"a JSON body may have {_MAX_JSON:,} bytes; archives are sent as they are"
            )
    return body


async def _receive(request: Request, parts: Parts, order: Order, coming: _Coming) -> Job:
    try:
        async with _reception(request, parts, order) as folder:
            return await _receive_in(folder, request, parts, order, coming)
    except (TooManyRequests, Overloaded, StorageFull):
        await _read_away(request)
        raise


@asynccontextmanager
async def _reception(request: Request, parts: Parts, order: Order) -> AsyncIterator[Path]:
    """A folder to receive in, if there is a share left for it; let go of whatever happens."""
    announced = request.headers.get("Content-Length", "")
    size = min(int(announced) if announced.isdecimal() else 0, parts.settings.max_import_bytes)
    reception, threads = parts.board.receiving(order, size), parts.executors.bookkeeping
    entering = asyncio.create_task(threads.run(reception.__enter__))

    async def leave() -> None:
        await asyncio.wait({entering})
        if entering.exception() is None:
            await threads.run(reception.__exit__, None, None, None)

    try:
        yield await asyncio.shield(entering)
    finally:
        await asyncio.shield(leave())


async def _receive_in(
    folder: Path, request: Request, parts: Parts, order: Order, coming: _Coming
) -> Job:
    board, threads, most = parts.board, parts.executors.bookkeeping, parts.settings.max_import_bytes
    charge = partial(board.charge, folder)
    received = await receive(_chunks(request), folder / RECEIVED, most, threads, charge)
    kind = await parts.executors.background.run(
        settle, folder / RECEIVED, coming.declared, most, encoded=coming.encoded
    )
    about = {"source": kind, "bytes": received.size, "sha256": received.sha256}
    return await threads.run(board.place, replace(order, spec={**order.spec, **about}), folder)


async def _read_away(request: Request) -> None:
    """Read a little of what is under way: a client that only writes would not see our answer."""
    read = 0
    with suppress(InvalidInput, TimeoutError, RuntimeError):  # the last: all of it was read
        async with asyncio.timeout(_READ_AWAY_SECONDS):
            async for chunk in _chunks(request):
                read += len(chunk)
                if read > _READ_AWAY:
                    return


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise InvalidInput("the body ended before its end") from error
