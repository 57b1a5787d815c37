"""``/galleries/{gallery}/snapshots``: saved states of galleries."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import FileResponse

from service.api.galleries import GalleryRecord
from service.api.snapshots import SnapshotEntry, Snapshots
from service.errors import Conflict, NotFound, StorageFull, Unavailable, Unsupported
from service.gallery.protocol import Gallery
from service.http.dependencies import AuditOf, CallerOf, PartsOf
from service.http.problems import responses
from service.http.records import gallery_record, snapshot_entry
from service.http.request_models import RestoreBody
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}/snapshots", tags=["snapshots"])

_MEDIA_TYPE = "application/vnd.sqlite3"
_WRITE_ERRORS = (NotFound, Unsupported, StorageFull, Unavailable)
SnapshotId = Annotated[str, Path(description="as in the listing")]


@router.get("", responses=responses(NotFound, Unavailable))
async def list_snapshots(gallery: str, parts: PartsOf) -> Snapshots:
    """List the snapshots of a gallery, oldest first, also if the gallery was deleted."""
    found = await parts.executors.reads.run(parts.store.snapshots, gallery)
    return Snapshots(snapshots=[snapshot_entry(record) for record in found])


@router.post("", status_code=201, responses=responses(*_WRITE_ERRORS))
async def take_snapshot(gallery: str, parts: PartsOf, response: Response) -> SnapshotEntry:
    """Save a gallery as it is now, while searches and writes continue.

    The snapshot is on disk once this is answered, and takes as much space as the gallery.
    """
    record = await parts.executors.background.run(parts.store.take_snapshot, gallery)
    response.headers["Location"] = f"/galleries/{gallery}/snapshots/{record.snapshot_id}"
    return snapshot_entry(record)


@router.get(
    "/{snapshot_id}",
    response_class=FileResponse,
    responses={
        200: {"content": {_MEDIA_TYPE: {}}, "description": "The snapshot"},
        **responses(NotFound, Unsupported),
    },
)
async def download_snapshot(gallery: str, snapshot_id: SnapshotId, parts: PartsOf) -> FileResponse:
    """Download a snapshot for a backup: one SQLite database."""
    path = await parts.executors.reads.run(parts.store.snapshot_file, gallery, snapshot_id)
    return FileResponse(
        path,
        media_type=_MEDIA_TYPE,
        filename=f"{gallery}-{snapshot_id}.sqlite3",
        headers={"Cache-Control": "no-store"},
    )


@router.delete("/{snapshot_id}", status_code=204, responses=responses(*_WRITE_ERRORS))
async def delete_snapshot(gallery: str, snapshot_id: SnapshotId, parts: PartsOf) -> None:
    """Delete a snapshot permanently."""
    await parts.executors.writes.run(parts.store.delete_snapshot, gallery, snapshot_id)


@router.post("/{snapshot_id}/restore", responses=responses(Conflict, *_WRITE_ERRORS))
async def restore_snapshot(
    gallery: str,
    snapshot_id: SnapshotId,
    parts: PartsOf,
    caller: CallerOf,
    audit: AuditOf,
    body: RestoreBody,
) -> GalleryRecord:
    """Restore a gallery from a snapshot, or create a new gallery from it.

    The whole snapshot is checked before it replaces anything. The replaced crops are lost, and so
    are the gallery's versions for other models; its options stay as they are now.
    """
    audit.target = body.into or gallery
    caller.require_gallery(audit.target)
    restored = await parts.executors.background.run(
        _restored, parts, gallery, snapshot_id, body.into
    )
    return gallery_record(await parts.executors.reads.run(restored.stats))


def _restored(parts: Parts, name: str, snapshot_id: str, into: str | None) -> Gallery:
    follow = partial(parts.alerts.renames.follow_named, into or name)
    follow()
    restored = parts.store.restore(name, snapshot_id, into)
    follow()  # its crops may have other identities
    return restored
