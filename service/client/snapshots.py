"""Snapshots: galleries as they were."""

from __future__ import annotations

from pathlib import Path

from service.api import snapshots as api
from service.api.galleries import GalleryRecord
from service.client.call import Call, as_model, at, get, given, nothing, send_json
from service.client.routes import Group, Route, Sender

_ALL = "/galleries/{gallery}/snapshots"
_ONE = "/galleries/{gallery}/snapshots/{snapshot_id}"


def _every(gallery: str) -> Call[api.Snapshots]:
    """Snapshots of a gallery, oldest first; also of a gallery that was deleted."""
    return get(at(_ALL, gallery=gallery), api.Snapshots)


def _take(gallery: str) -> Call[api.SnapshotEntry]:
    """Keep a gallery as it is now; the snapshot is on disk once this returns."""
    path = at(_ALL, gallery=gallery)
    return Call(method="POST", path=path, read=as_model(api.SnapshotEntry))


def _download(gallery: str, snapshot_id: str, path: Path | str) -> Call[Path]:
    """Download a snapshot, one SQLite database.

    Args:
        gallery: its name.
        snapshot_id: as the listing gives it.
        path: the file to write; it appears when the download is complete.

    Returns:
        The path.
    """
    return Call(
        method="GET",
        path=at(_ONE, gallery=gallery, snapshot_id=snapshot_id),
        read=lambda _: Path(path),
        repeat="always",
        into=Path(path),
    )


def _delete(gallery: str, snapshot_id: str) -> Call[None]:
    """Delete a snapshot, for good."""
    path = at(_ONE, gallery=gallery, snapshot_id=snapshot_id)
    return Call(method="DELETE", path=path, read=nothing)


def _restore(gallery: str, snapshot_id: str, into: str | None = None) -> Call[GalleryRecord]:
    """Bring a gallery back as it was, or make a new one of a snapshot.

    Args:
        gallery: its name.
        snapshot_id: as the listing gives it.
        into: name of a new gallery; the snapshot's own gallery is replaced if None.

    Returns:
        The gallery that was written.
    """
    path = at(_ONE, gallery=gallery, snapshot_id=snapshot_id) + "/restore"
    return send_json("POST", path, GalleryRecord, given({"into": into}))


class Snapshots(Group[Sender]):
    """Snapshots: galleries as they were."""

    list = Route(_every)
    take = Route(_take)
    download = Route(_download)
    delete = Route(_delete)
    restore = Route(_restore)
