"""``/galleries/{gallery}/crops``: the crops of a gallery."""

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
from service.ingest.storing import Enrolment, EnrolmentOutcome
from service.machine.stopwatch import Stopwatch
from service.values.timestamps import Moment
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/crops", tags=["crops"])

_UPLOAD_ERRORS = (
    *(InvalidImage, ImageTooLarge, TooLarge, NotFound),
    *(ModelMismatch, Overloaded, Unavailable, Unsupported, StorageFull),
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
    """Add or replace many crops. Each has its own result; an unusable image does not affect others.

    Crops reported as `created` or `replaced` are on disk. As JSON, send embeddings instead of
    images.
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
    """List crops by id: one page as JSON, or all of them as CSV, NDJSON or Parquet.

    The files are streamed and have no warnings about the filter.
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
    """Delete every crop that passes a filter, permanently; with `dry_run` only count them.

    This also deletes what the gallery's jobs have noted about them. The receipt names snapshots and
    other galleries that still hold one of them, and jobs that may.
    """
    opened, client = await _open(parts, gallery), await client_of(request)
    where = filter_of(body)
    # Before the deletion: afterwards every name of the filter is unknown.
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
    """Add or replace one crop. Repeating the request changes nothing more.

    As JSON, send an embedding instead of the image.
    """
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
    """Return what the gallery knows about one crop."""
    opened = await _open(parts, gallery)
    return crop_record(await parts.executors.reads.run(opened.get, crop_id))


@router.delete("/{crop_id:path}", responses=responses(NotFound, StorageFull, Unavailable))
async def delete_crop(
    gallery: str, crop_id: CropIdInPath, request: Request, parts: PartsOf, caller: CallerOf
) -> DeletionReceipt:
    """Delete one crop permanently, and what the gallery's jobs have noted about it."""
    where = Filter(crop_ids=frozenset({crop_id}))
    erased = await parts.executors.writes.run(parts.erasure.erase, gallery, where)
    if not erased.receipt.crops:
        raise NotFound(f"gallery {gallery!r} has no crop {crop_id!r}")
    beside = beside_counts(caller, request.state.request_id, erased.copies)
    return deletion_receipt(erased, beside, dry_run=False)


def enrolment_answer(
    outcome: EnrolmentOutcome, moments: Sequence[tuple[str, Moment | None]], stopwatch: Stopwatch
) -> EnrolmentAnswer:
    """Build the answer for a batch of crops.

    Args:
        outcome: what happened to each crop.
        moments: the ids of the crops, each with its time as the client wrote it.
        stopwatch: of the request.
    """
    return EnrolmentAnswer(
        model=model_name(outcome.model),
        took_ms=stopwatch.took_ms(),
        results=[_entry(enrolment) for enrolment in outcome.enrolments],
        warnings=warning_records(crop_time_warnings(moments)),
    )


def stored_crop(enrolment: Enrolment, timestamp: Moment | None) -> StoredCrop:
    """Build the answer for one crop; ``timestamp`` is its time as the client wrote it."""
    warnings = warning_records(time_warnings({"timestamp": timestamp}))
    return StoredCrop(**crop_record(enrolment.crop).model_dump(), warnings=warnings)


def _entry(enrolment: Enrolment) -> EnrolmentEntry:
    """What happened to one crop, with the identity that it joined."""
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
