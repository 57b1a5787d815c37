"""``/galleries/{gallery}/crops``: the pictures a gallery knows."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from service.api.crops import (
    CropPage,
    CropRecord,
    EnrolmentAnswer,
    EnrolmentEntry,
    StoredCrop,
)
from service.api.receipts import DeletionReceipt
from service.errors import (
    ImageTooLarge,
    InvalidImage,
    ModelMismatch,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unavailable,
    Unsupported,
)
from service.gallery.base import Filter
from service.gallery.filter_fields import filter_of, filter_time_warnings
from service.gallery.filter_warnings import warnings_of
from service.gallery.protocol import Gallery
from service.gallery.time_warnings import crop_time_warnings, time_warnings
from service.http.answers import json_answer
from service.http.crop_export import (
    Export,
    export_response,
    requested_format,
    require_exportable,
)
from service.http.crop_writers import MEDIA_TYPES
from service.http.dependencies import (
    AuditOf,
    CallerOf,
    ClientOf,
    CropIdInPath,
    PartsOf,
    StopwatchOf,
    client_of,
    model_name,
    read_uploads,
)
from service.http.given_once import form_given_once
from service.http.json_route import json_body
from service.http.problems import image_problem_of, responses
from service.http.receipts import beside_counts, deletion_receipt
from service.http.records import crop_record, warning_records
from service.http.request_models import CropForm, CropsForm, DeleteBody, ListQuery
from service.http.vector_bodies import VectorCrop, VectorCrops
from service.ingest.enroller import Enrolment, EnrolmentOutcome
from service.machine.stopwatch import Stopwatch
from service.values.timestamps import Moment
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/crops", tags=["crops"])

_UPLOAD_ERRORS = (
    *(InvalidImage, ImageTooLarge, TooLarge, NotFound),
    *(ModelMismatch, Overloaded, Unavailable, StorageFull),
)


@router.post(
    "",
    responses=responses(*_UPLOAD_ERRORS),
    dependencies=[Depends(form_given_once)],
    openapi_extra=json_body(VectorCrops),
)
async def add_crops(
    gallery: str,
    form: Annotated[CropsForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    audit: AuditOf,
) -> EnrolmentAnswer:
    """Add or replace many crops; each has its own result, one bad image leaves the others.

    What is called `created` or `replaced` is on disk.
    """
    uploads = await read_uploads(form.images, parts)
    crops = [entry.crop for entry in form.crops.root]
    outcome = await parts.enroller.enrol(gallery, uploads, crops, stopwatch, client)
    audit.crops = sum(enrolment.error is None for enrolment in outcome.enrolments)
    moments = [(entry.crop_id, entry.timestamp) for entry in form.crops.root]
    return enrolment_answer(outcome, moments, stopwatch)


@router.get(
    "",
    response_model=CropPage,
    responses={
        200: {
            "content": {media: {} for media in MEDIA_TYPES.values()},
            "description": "One page, or every crop as a file",
        },
        **responses(NotFound, Unsupported),
    },
)
async def list_crops(
    gallery: str,
    query: Annotated[ListQuery, Query()],
    request: Request,
    parts: PartsOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """List crops in the order of their ids: one page as JSON, or all as CSV, NDJSON or Parquet.

    The files are streamed, and carry no warnings about the filter.
    """
    opened, where = await _open(parts, gallery), filter_of(query)
    threads = parts.executors.reads.of(client)
    format_ = requested_format(query.format, request.headers.get("Accept", ""))
    require_exportable(format_, paged=query.is_paged, embeddings=query.embeddings)
    if format_ != "json":
        audit.crops = await threads.run(opened.count, where)
        export = Export(opened, where, format_, query.embeddings)
        return await export_response(export, request, threads)

    def listed() -> CropPage:
        page = opened.page(where, query.limit, query.cursor)
        audit.crops = len(page.crops)
        return CropPage(
            crops=[crop_record(crop) for crop in page.crops],
            cursor=page.cursor,
            warnings=warning_records([*warnings_of(opened, where), *filter_time_warnings(query)]),
        )

    return await json_answer(threads, listed)


@router.post(
    "/delete",
    responses=responses(NotFound, StorageFull, Unavailable),
)
async def delete_crops(
    gallery: str,
    body: DeleteBody,
    request: Request,
    parts: PartsOf,
    caller: CallerOf,
    audit: AuditOf,
) -> DeletionReceipt:
    """Delete every crop that passes a filter, for good, or with `dry_run` only count them.

    What the gallery's jobs have noted of them goes, too. The receipt names the snapshots and other
    galleries that still hold one of them, and the jobs that may.
    """
    opened, client = await _open(parts, gallery), await client_of(request)
    where = filter_of(body)
    # First: once the crops are gone, every name of the filter is unknown.
    warnings = await parts.executors.reads.of(client).run(warnings_of, opened, where)
    erased = await parts.executors.writes.of(client).run(
        parts.erasure.erase, gallery, where, dry_run=body.dry_run
    )
    audit.crops = 0 if body.dry_run else erased.receipt.crops
    beside = beside_counts(caller, request.state.request_id, erased.copies)
    said = [*warnings, *filter_time_warnings(body)]
    return deletion_receipt(erased, beside, dry_run=body.dry_run, warnings=said)


@router.put(
    "/{crop_id:path}",
    responses={201: {"model": StoredCrop, "description": "Created"}, **responses(*_UPLOAD_ERRORS)},
    dependencies=[Depends(form_given_once)],
    openapi_extra=json_body(VectorCrop),
)
async def put_crop(  # noqa: PLR0913 - FastAPI hands over each
    gallery: str,
    crop_id: CropIdInPath,
    form: Annotated[CropForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    response: Response,
) -> StoredCrop:
    """Add or replace one crop; asking twice changes nothing more."""
    crop = form.crop(crop_id)
    uploads = await read_uploads([form.image], parts)
    outcome = await parts.enroller.enrol(gallery, uploads, [crop], stopwatch, client)
    (enrolment,) = outcome.enrolments
    if enrolment.error is not None:
        raise enrolment.error
    response.status_code = 201 if enrolment.status == "created" else 200
    return stored_crop(enrolment, form.timestamp)


@router.get("/{crop_id:path}", responses=responses(NotFound))
async def get_crop(gallery: str, crop_id: CropIdInPath, parts: PartsOf) -> CropRecord:
    """What the gallery knows of one crop."""
    opened = await _open(parts, gallery)
    return crop_record(await parts.executors.reads.run(opened.get, crop_id))


@router.delete("/{crop_id:path}", responses=responses(NotFound, StorageFull, Unavailable))
async def delete_crop(
    gallery: str, crop_id: CropIdInPath, request: Request, parts: PartsOf, caller: CallerOf
) -> DeletionReceipt:
    """Delete one crop, for good, and what the gallery's jobs have noted of it."""
    where = Filter(crop_ids=frozenset({crop_id}))
    erased = await parts.executors.writes.run(parts.erasure.erase, gallery, where)
    if not erased.receipt.crops:
        raise NotFound(f"gallery {gallery!r} has no crop {crop_id!r}")
    beside = beside_counts(caller, request.state.request_id, erased.copies)
    return deletion_receipt(erased, beside, dry_run=False)


def enrolment_answer(
    outcome: EnrolmentOutcome, moments: Sequence[tuple[str, Moment | None]], stopwatch: Stopwatch
) -> EnrolmentAnswer:
    """Answer what became of a batch of crops.

    Args:
        outcome: of each crop.
        moments: the times of the crops as the client wrote them, with their ids.
        stopwatch: of the request.
    """
    return EnrolmentAnswer(
        model=model_name(outcome.model),
        took_ms=stopwatch.took_ms(),
        results=[_entry(enrolment) for enrolment in outcome.enrolments],
        warnings=warning_records(crop_time_warnings(moments)),
    )


def stored_crop(enrolment: Enrolment, timestamp: Moment | None) -> StoredCrop:
    """Answer what is stored of one crop, whose time the client wrote as ``timestamp``."""
    warnings = warning_records(time_warnings({"timestamp": timestamp}))
    return StoredCrop(**crop_record(enrolment.crop).model_dump(), warnings=warnings)


def _entry(enrolment: Enrolment) -> EnrolmentEntry:
    """What became of one crop, with the identity that it joined."""
    crop, error = enrolment.crop, enrolment.error
    return EnrolmentEntry(
        crop_id=crop.crop_id,
        status=enrolment.status,
        identity=None if error is not None else crop.identity,
        origin=None if error is not None else crop.origin,
        error=None if error is None else image_problem_of(error),
    )


async def _open(parts: Parts, name: str) -> Gallery:
    return await parts.executors.reads.run(parts.store.open, name)
