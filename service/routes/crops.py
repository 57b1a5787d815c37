"""``/galleries/{gallery}/crops``: the pictures a gallery knows."""

from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Response

from service.errors import (
    ImageTooLarge,
    InvalidImage,
    ModelMismatch,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unavailable,
)
from service.fields import CropId
from service.forms import CropForm, CropsForm, DeleteBody, ListQuery
from service.gallery.base import Crop, Filter, Gallery
from service.parts import Parts
from service.routes.dependencies import (
    AuditOf,
    PartsOf,
    StopwatchOf,
    model_name,
    read_uploads,
)
from service.routes.problems import image_problem_of, responses
from service.schemas import (
    CropPage,
    CropRecord,
    DeletionReceipt,
    EnrolmentAnswer,
    EnrolmentEntry,
)

router = APIRouter(prefix="/galleries/{gallery}/crops", tags=["crops"])

_UPLOAD_ERRORS = (
    *(InvalidImage, ImageTooLarge, TooLarge, NotFound),
    *(ModelMismatch, Overloaded, Unavailable, StorageFull),
)
CropIdInPath = Annotated[CropId, Path(description="may hold slashes")]


@router.post("", responses=responses(*_UPLOAD_ERRORS))
async def add_crops(
    gallery: str,
    form: Annotated[CropsForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    audit: AuditOf,
) -> EnrolmentAnswer:
    """Add or replace many crops; each has its own result, one bad image leaves the others.

    What is called `created` or `replaced` is on disk.
    """
    uploads = await read_uploads(form.images, parts)
    crops = [
        Crop(entry.crop_id, entry.identity, entry.camera, entry.timestamp) for entry in form.crops
    ]
    outcome = await parts.enroller.enrol(gallery, uploads, crops, stopwatch)
    audit.crops = sum(enrolment.error is None for enrolment in outcome.enrolments)
    results = [
        EnrolmentEntry(
            crop_id=enrolment.crop.crop_id,
            status=enrolment.status,
            error=None if enrolment.error is None else image_problem_of(enrolment.error),
        )
        for enrolment in outcome.enrolments
    ]
    return EnrolmentAnswer(
        model=model_name(outcome.model), took_ms=stopwatch.took_ms(), results=results
    )


@router.get("", responses=responses(NotFound))
async def list_crops(
    gallery: str, query: Annotated[ListQuery, Query()], parts: PartsOf, audit: AuditOf
) -> CropPage:
    """List crops in the order of their ids, a page at a time."""
    opened = await _open(parts, gallery)
    page = await parts.executors.reads.run(opened.page, query.where, query.limit, query.cursor)
    audit.crops = len(page.crops)
    return CropPage(crops=[CropRecord.of(crop) for crop in page.crops], cursor=page.cursor)


@router.post("/delete", responses=responses(NotFound, StorageFull, Unavailable))
async def delete_crops(
    gallery: str, body: DeleteBody, parts: PartsOf, audit: AuditOf
) -> DeletionReceipt:
    """Delete every crop that passes a filter, for good, or with `dry_run` only count them.

    The receipt names the snapshots that still hold one of them, and the imports that may.
    """
    opened = await _open(parts, gallery)
    receipt = await parts.executors.writes.run(opened.delete, body.where, dry_run=body.dry_run)
    audit.crops = 0 if body.dry_run else receipt.crops
    jobs = await parts.executors.bookkeeping.run(parts.board.keeping_files, gallery)
    return DeletionReceipt.of(receipt, jobs, dry_run=body.dry_run)


@router.put(
    "/{crop_id:path}",
    responses={201: {"model": CropRecord, "description": "Created"}, **responses(*_UPLOAD_ERRORS)},
)
async def put_crop(
    gallery: str,
    crop_id: CropIdInPath,
    form: Annotated[CropForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    response: Response,
) -> CropRecord:
    """Add or replace one crop; asking twice changes nothing more."""
    crop = Crop(crop_id, form.identity, form.camera, form.timestamp)
    uploads = await read_uploads([form.image], parts)
    outcome = await parts.enroller.enrol(gallery, uploads, [crop], stopwatch)
    (enrolment,) = outcome.enrolments
    if enrolment.error is not None:
        raise enrolment.error
    response.status_code = 201 if enrolment.status == "created" else 200
    return CropRecord.of(enrolment.crop)


@router.get("/{crop_id:path}", responses=responses(NotFound))
async def get_crop(gallery: str, crop_id: CropIdInPath, parts: PartsOf) -> CropRecord:
    """What the gallery knows of one crop."""
    opened = await _open(parts, gallery)
    return CropRecord.of(await parts.executors.reads.run(opened.get, crop_id))


@router.delete("/{crop_id:path}", responses=responses(NotFound, StorageFull, Unavailable))
async def delete_crop(gallery: str, crop_id: CropIdInPath, parts: PartsOf) -> DeletionReceipt:
    """Delete one crop, for good."""
    opened = await _open(parts, gallery)
    where = Filter(crop_ids=frozenset({crop_id}))
    receipt = await parts.executors.writes.run(opened.delete, where)
    if not receipt.crops:
        raise NotFound(f"gallery {gallery!r} has no crop {crop_id!r}")
    jobs = await parts.executors.bookkeeping.run(parts.board.keeping_files, gallery)
    return DeletionReceipt.of(receipt, jobs, dry_run=False)


async def _open(parts: Parts, name: str) -> Gallery:
    return await parts.executors.reads.run(parts.store.open, name)
