"""``POST /galleries/{gallery}/imports``: many crops at once, as a job."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from service.crop_names import naming_of
from service.errors import (
    Conflict,
    InvalidInput,
    ModelMismatch,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unavailable,
)
from service.imports.importer import RECEIVED, Upload, check_folder
from service.imports.receiving import receive
from service.imports.schemas import MAX_PATTERN, ImportBody
from service.jobs.base import Job, Order
from service.jobs.schemas import JobRecord
from service.parts import Parts
from service.routes.dependencies import CallerOf, PartsOf
from service.routes.problems import responses

router = APIRouter(prefix="/galleries/{gallery}/imports", tags=["jobs"])

_JSON = "application/json"
_UPLOADS: dict[str, Upload] = {
    "application/x-tar": "tar",
    "application/gzip": "tar.gz",
    "application/zip": "zip",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
}
_MAX_JSON = 1 << 16
_ERRORS = (
    *(NotFound, TooLarge, Conflict, ModelMismatch),
    *(Overloaded, Unavailable, StorageFull),
)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": ImportBody.model_json_schema()},
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _UPLOADS},
        },
    }
}

Pattern = Annotated[
    str | None,
    Query(
        max_length=MAX_PATTERN,
        description="of an archive without manifest.ndjson: regular expression on the members' "
        "paths with groups identity, camera, timestamp, crop_id; without it Market-1501 names",
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


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What accompanies the body of an import."""

    pattern: Pattern = None
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
    key, owner = wish.idempotency_key, caller.key_id
    if content_type == _JSON:
        if wish.pattern is not None:
            raise InvalidInput("pattern belongs into the JSON body of a server folder")
        spec = await _folder_spec(request, parts)
        job = await parts.executors.bookkeeping.run(
            parts.board.place, Order("import", gallery, spec, None, key, owner)
        )
    elif content_type in _UPLOADS:
        spec = {"source": _UPLOADS[content_type], "pattern": wish.pattern}
        naming_of(wish.pattern)
        job = await _receive(request, parts, Order("import", gallery, spec, None, key, owner))
    else:
        known = ", ".join((_JSON, *_UPLOADS))
        raise InvalidInput(f"Content-Type {content_type[:80]!r} is none of {known}")
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return JobRecord.of(job)


async def _folder_spec(request: Request, parts: Parts) -> dict[str, Any]:
    try:
        body = ImportBody.model_validate_json(await _small_body(request))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in errors]
        ) from error
    spec = {"source": "folder", **body.model_dump()}
    await parts.executors.reads.run(check_folder, parts.settings, spec)
    return spec


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in _chunks(request):
        body += chunk
        if len(body) > _MAX_JSON:
            raise TooLarge(
                f"a JSON body may have {_MAX_JSON:,} bytes; archives are sent as they are"
            )
    return body


async def _receive(request: Request, parts: Parts, order: Order) -> Job:
    with parts.board.receiving() as folder:
        most = parts.settings.max_import_bytes
        received = await receive(
            _chunks(request), folder / RECEIVED, most, parts.executors.bookkeeping
        )
        spec = {**order.spec, "bytes": received.size, "sha256": received.sha256}
        order = Order(order.kind, order.gallery, spec, None, order.idempotency_key, order.owner)
        return await parts.executors.bookkeeping.run(parts.board.place, order, folder)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise InvalidInput("the body ended before its end") from error
