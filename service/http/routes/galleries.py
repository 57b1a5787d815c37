"""``/galleries``: named sets of crops."""

import hashlib
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.access.caller import Caller
from service.api.galleries import Galleries, GalleryForecast, GalleryRecord
from service.api.receipts import GalleryDeleted
from service.erasure.preview import ErasurePreview, preview_erasure
from service.errors import (
    Conflict,
    NotFound,
    StorageFull,
    Unavailable,
    Unconfirmed,
    Unsupported,
)
from service.gallery.base import GalleryStats
from service.gallery.protocol import Gallery
from service.http.dependencies import AuditOf, CallerOf, CropIdInPath, PartsOf
from service.http.problems import responses
from service.http.receipts import beside_counts
from service.http.records import gallery_forecast, gallery_record
from service.http.request_models import GalleryBody, GalleryChanges
from service.wiring import Parts

router = APIRouter(prefix="/galleries", tags=["galleries"])

_CREATE_ERRORS = (Conflict, Unsupported, NotFound, StorageFull, Unavailable)
_CHANGE_ERRORS = (NotFound, Unconfirmed, Unsupported, StorageFull, Unavailable)


@router.get("", responses=responses())
async def list_galleries(parts: PartsOf, caller: CallerOf) -> Galleries:
    """List every gallery that the caller may use, with its counts, by name."""
    return Galleries(galleries=await gallery_records(parts, caller))


@router.post("", status_code=201, responses=responses(*_CREATE_ERRORS))
async def create_gallery(
    body: GalleryBody, parts: PartsOf, response: Response, caller: CallerOf, audit: AuditOf
) -> GalleryRecord:
    """Create an empty gallery for embeddings of the running model, or of another one."""
    audit.gallery = body.name
    caller.require_gallery(body.name)
    gallery = await parts.executors.writes.run(_create, parts, body)
    response.headers["Location"] = f"/galleries/{body.name}"
    return gallery_record(await parts.executors.reads.run(gallery.stats))


@router.get("/{gallery}", responses=responses(NotFound, Unavailable))
async def get_gallery(gallery: str, parts: PartsOf) -> GalleryRecord:
    """Return the counts of one gallery, also if it belongs to another model."""
    opened = await parts.executors.reads.run(parts.store.open, gallery)
    return gallery_record(await parts.executors.reads.run(opened.stats))


@router.patch("/{gallery}", responses=responses(*_CHANGE_ERRORS))
async def change_gallery(
    gallery: str, body: GalleryChanges, parts: PartsOf, audit: AuditOf
) -> GalleryRecord | GalleryForecast:
    """Change what a gallery keeps and for how long; `dry_run` only reports what that would erase.

    A shorter `keep_for` that erases crops at once needs `confirm`. `store_crops` false erases the
    stored pictures.
    """
    if body.dry_run:
        audit.crops = 0
        return gallery_forecast(await parts.executors.reads.run(_doomed, parts, gallery, body))
    stats, audit.crops = await parts.executors.writes.run(_change, parts, gallery, body)
    return gallery_record(stats)


@router.get(
    "/{gallery}/pictures/{crop_id:path}",
    response_class=Response,
    responses={
        200: {
            "content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}},
            "description": "The picture",
        },
        **responses(NotFound, Unsupported, Unavailable),
    },
)
async def get_picture(gallery: str, crop_id: CropIdInPath, parts: PartsOf) -> Response:
    """Return the picture of a crop as it was uploaded. Only galleries that store crops have it."""
    opened = await parts.executors.reads.run(parts.store.open, gallery)
    picture = await parts.executors.reads.run(_sound_picture, opened, crop_id)
    # Erased pictures must not survive in a cache.
    return Response(picture, media_type=_media_type(picture), headers={"Cache-Control": "no-store"})


@router.delete("/{gallery}", responses=responses(NotFound, Unavailable))
async def delete_gallery(
    gallery: str,
    request: Request,
    parts: PartsOf,
    caller: CallerOf,
    audit: AuditOf,
    snapshots: Annotated[bool, Query(description="also delete its snapshots")] = False,
) -> GalleryDeleted:
    """Delete a gallery permanently, with all its crops, and its jobs with everything they keep.

    Its snapshots stay, unless `snapshots` is true.
    """
    audit.crops, copies, jobs = await parts.executors.writes.run(
        parts.erasure.delete_gallery, gallery
    )
    kept = await parts.executors.writes.run(_snapshots_of, parts, gallery, delete=snapshots)
    beside = beside_counts(caller, request.state.request_id, copies)
    return GalleryDeleted(deleted=audit.crops, snapshots=kept, jobs=jobs, **beside)


def _sound_picture(gallery: Gallery, crop_id: str) -> bytes:
    picture, digest = gallery.picture(crop_id), gallery.get(crop_id).digest
    if digest is not None and hashlib.sha256(picture).hexdigest() != digest:
        raise Unavailable(
            f"the stored picture of crop {crop_id!r} is damaged or being replaced: retry, and if "
            "the error persists, upload the picture again"
        )
    return picture


def _change(parts: Parts, name: str, body: GalleryChanges) -> tuple[GalleryStats, int]:
    """Change a gallery; returns its counts, and how many crops the change will erase."""
    with parts.store.changing(name) as gallery:  # other changes wait, and build on this one
        options = body.applied_to(gallery.options)
        doomed = preview_erasure(gallery, options, time.time())
        doomed.require_confirmed(options.keep_for, body.confirm)
        gallery.configure(options)
    return gallery.stats(), doomed.receipt.crops


def _doomed(parts: Parts, name: str, body: GalleryChanges) -> ErasurePreview:
    gallery = parts.store.open(name)
    return preview_erasure(gallery, body.applied_to(gallery.options), time.time())


def _create(parts: Parts, body: GalleryBody) -> Gallery:
    manifest = parts.manifest if body.model is None else parts.shelf.named(body.model).manifest
    return parts.store.create(body.name, manifest.sha256, manifest.dimension, body.options)


def _snapshots_of(parts: Parts, gallery: str, *, delete: bool) -> list[str]:
    try:
        found = [record.snapshot_id for record in parts.store.snapshots(gallery)]
    except NotFound:  # neither the gallery nor a snapshot remains
        return []
    if not delete:
        return found
    for snapshot_id in found:
        parts.store.delete_snapshot(gallery, snapshot_id)
    return []


def _media_type(picture: bytes) -> str:
    match picture[:4]:
        case b"\x89PNG":
            return "image/png"
        case b"RIFF":
            return "image/webp"
        case _:
            return "image/jpeg"


async def gallery_records(parts: Parts, caller: Caller) -> list[GalleryRecord]:
    """List every gallery that the caller may use, with its counts, by name."""
    every = await parts.executors.reads.run(parts.store.stats)
    return [gallery_record(stats) for stats in every if caller.sees(stats.name)]
