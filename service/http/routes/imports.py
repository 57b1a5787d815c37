"""``POST /galleries/{gallery}/imports``: import many crops as a job."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from service.api.imports import ImportBody
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
    Unsupported,
)
from service.http.dependencies import CallerOf, PartsOf
from service.http.import_parameters import OF_VIDEOS, PARAMETERS, ImportParameters, upload_spec
from service.http.problems import responses
from service.http.records import job_record
from service.imports.formats import (
    CONTENT_TYPES,
    OCTETS,
    ImportFormat,
    declared_format,
    detect_format,
    is_gzip,
)
from service.imports.importer import RECEIVED, check_folder, unbound
from service.imports.spooling import spool
from service.jobs.job import Job, Order
from service.video.needed import require_video
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/imports", tags=["jobs"])

_JSON = "application/json"
_MAX_JSON = 1 << 16
_DIGITS_AS_NAME = 16
_READ_AWAY, _READ_AWAY_SECONDS = 1 << 20, 2.0
_ERRORS = (
    *(NotFound, TooLarge, Conflict, ModelMismatch, TooManyRequests),
    *(Overloaded, Unavailable, Unsupported, StorageFull),
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


@router.post("", status_code=202, responses=responses(*_ERRORS), openapi_extra=_BODY)
async def start_import(
    gallery: str,
    request: Request,
    parts: PartsOf,
    caller: CallerOf,
    response: Response,
    parameters: Annotated[ImportParameters, Depends()],
) -> JobRecord:
    """Import a folder of the server, an archive, a manifest, or a video.

    The job reports the progress, and why single files could not be used. Crops that are already
    stored with the same bytes and metadata are skipped, so an import can be repeated.
    """
    await parts.executors.reads.run(parts.shelf.open, parts.store, gallery)
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    key, owner, client = parameters.idempotency_key, caller.key_id, request.state.client
    if content_type == _JSON:
        for name in PARAMETERS:
            if getattr(parameters, name) is not None:
                raise InvalidInput(f"for a folder of the server, send {name} in the JSON body")
        spec = {**await _folder_spec(request), **unbound(caller)}
        order = Order("import", gallery, spec, None, key, owner, client)
        await parts.executors.reads.run(check_folder, parts.settings, order)
        job = await parts.executors.bookkeeping.run(parts.board.place, order)
    else:
        headers = _BodyHeaders(
            declared_format(content_type), is_gzip(request.headers.get("Content-Encoding", ""))
        )
        if headers.format == "video":
            _require_videos(parts)
        spec = {**upload_spec(parameters), **unbound(caller)}
        order = Order("import", gallery, spec, None, key, owner, client)
        job = await _receive(request, parts, order, headers)
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job_record(job)


@dataclass(frozen=True, slots=True)
class _BodyHeaders:
    """What the headers say about the body."""

    format: ImportFormat | None
    is_gzipped: bool


def _require_videos(parts: Parts) -> None:
    """Check that videos can be used. Raises Unsupported: a package or the detector is missing."""
    require_video()
    parts.detection.require()


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
    async for piece in _pieces(request):
        body += piece
        if len(body) > _MAX_JSON:
            raise TooLarge(f"a JSON body may have {_MAX_JSON:,} bytes; send archives as they are")
    return body


async def _receive(request: Request, parts: Parts, order: Order, headers: _BodyHeaders) -> Job:
    try:
        async with _upload_folder(request, parts, order) as folder:
            return await _receive_into(folder, request, parts, order, headers)
    except (TooManyRequests, Overloaded, StorageFull):
        await _read_away(request)
        raise


@asynccontextmanager
async def _upload_folder(request: Request, parts: Parts, order: Order) -> AsyncIterator[Path]:
    """A folder for the upload, if the client has any limit left; always released afterwards."""
    announced = request.headers.get("Content-Length", "")
    size = min(int(announced) if announced.isdecimal() else 0, parts.settings.max_import_bytes)
    receiving, threads = parts.board.receiving(order, size), parts.executors.bookkeeping
    entering = asyncio.create_task(threads.run(receiving.__enter__))

    async def leave() -> None:
        await asyncio.wait({entering})
        if entering.exception() is None:
            await threads.run(receiving.__exit__, None, None, None)

    try:
        yield await asyncio.shield(entering)
    finally:
        await asyncio.shield(leave())


async def _receive_into(
    folder: Path, request: Request, parts: Parts, order: Order, headers: _BodyHeaders
) -> Job:
    board, threads, most = parts.board, parts.executors.bookkeeping, parts.settings.max_import_bytes
    charge = partial(board.charge, folder)
    received = await spool(_pieces(request), folder / RECEIVED, most, threads, charge)
    kind = await parts.executors.background.run(
        detect_format, folder / RECEIVED, headers.format, most, encoded=headers.is_gzipped
    )
    about: dict[str, Any] = {"source": kind, "bytes": received.size, "sha256": received.sha256}
    if kind == "video":
        _require_videos(parts)
        about["name"] = order.spec.get("name", received.sha256[:_DIGITS_AS_NAME])
    elif extra := [name for name in OF_VIDEOS if name in order.spec]:
        raise InvalidInput(f"{extra[0]} is for videos, and this is {kind}: leave it out")
    return await threads.run(board.place, replace(order, spec={**order.spec, **about}), folder)


async def _read_away(request: Request) -> None:
    """Read a little more of the body: a client that is still writing would miss the answer."""
    read = 0
    with suppress(InvalidInput, TimeoutError, RuntimeError):  # RuntimeError: all was read
        async with asyncio.timeout(_READ_AWAY_SECONDS):
            async for piece in _pieces(request):
                read += len(piece)
                if read > _READ_AWAY:
                    return


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect as error:
        raise InvalidInput("the client disconnected in the middle of the body") from error
