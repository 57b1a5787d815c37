"""Crops: the pictures of a gallery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Unpack

from service.api import crops as api
from service.api.receipts import DeletionReceipt
from service.client.call import Call, Paged, Repeat, Time, as_model, at, get, given, send_json
from service.client.fields import (
    EmbeddedCrop,
    Embedding,
    FilterFields,
    Image,
    NewCrop,
    file_part,
)
from service.client.frames import add_frames
from service.client.routes import Group, Pages, Route, Sender

_ALL = "/galleries/{gallery}/crops"
_ONE = "/galleries/{gallery}/crops/{crop_id}"


def _page(
    gallery: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    **where: Unpack[FilterFields],
) -> Call[api.CropPage]:
    """One page of a gallery's crops, in the order of their ids.

    Args:
        gallery: its name.
        limit: crops per page, 1..1000; 100 if absent.
        cursor: the previous page's.
        where: the filter.

    Returns:
        The page.
    """
    query = {**where, "limit": limit, "cursor": cursor}
    return get(at(_ALL, gallery=gallery), api.CropPage, query)


def _every(
    gallery: str, *, limit: int = 1000, **where: Unpack[FilterFields]
) -> Paged[api.CropPage, api.CropRecord]:
    """Every crop of a gallery, in the order of their ids.

    Args:
        gallery: its name.
        limit: crops per request.
        where: the filter.

    Returns:
        An iterator.
    """
    call = _page(gallery, limit=limit, **where)
    return Paged(call, lambda page: page.crops, lambda page: page.cursor)


def _get(gallery: str, crop_id: str) -> Call[api.CropRecord]:
    """What the gallery knows of one crop."""
    return get(at(_ONE, gallery=gallery, crop_id=crop_id), api.CropRecord)


def _put(  # noqa: PLR0913 - the fields of the form
    gallery: str,
    crop_id: str,
    image: Image,
    *,
    identity: str | None = None,
    camera: str | None = None,
    track: str | None = None,
    timestamp: Time | None = None,
    zone: str | None = None,
) -> Call[api.StoredCrop]:
    """Add or replace one crop.

    Args:
        gallery: its name.
        crop_id: 1..200 characters; may hold slashes.
        image: the picture.
        identity: the person it shows, if known.
        camera: the camera that took it, if known.
        track: which walk through the camera's view it belongs to, if known.
        timestamp: when it was taken, if known.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.

    Returns:
        The crop as it is stored.
    """
    known = {"identity": identity, "camera": camera, "track": track}
    fields = {**known, "timestamp": timestamp, "zone": zone}
    part = file_part(image)
    return Call(
        method="PUT",
        path=at(_ONE, gallery=gallery, crop_id=crop_id),
        read=as_model(api.StoredCrop),
        body=lambda: {"data": given(fields), "files": {"image": part}},
        repeat="always",
    )


def _add(gallery: str, crops: Sequence[NewCrop]) -> Call[api.EnrolmentAnswer]:
    """Add or replace several crops; one unusable image leaves the others.

    Args:
        gallery: its name.
        crops: at most ``ops.info().limits.max_images``.

    Returns:
        One result per crop, in order. Those called ``created`` or ``replaced`` are on disk.
    """
    files = [("images", file_part(crop.image)) for crop in crops]
    entries = json.dumps([_entry(crop) for crop in crops])
    return Call(
        method="POST",
        path=at(_ALL, gallery=gallery),
        read=as_model(api.EnrolmentAnswer),
        body=lambda: {"data": {"crops": entries}, "files": files},
        repeat="always",
    )


def _put_embedding(  # noqa: PLR0913 - the fields of the body
    gallery: str,
    crop_id: str,
    embedding: Embedding,
    *,
    model_sha256: str | None = None,
    identity: str | None = None,
    camera: str | None = None,
    track: str | None = None,
    timestamp: Time | None = None,
    zone: str | None = None,
) -> Call[api.StoredCrop]:
    """Add or replace one crop by its embedding; it has no picture.

    Args:
        gallery: its name.
        crop_id: 1..200 characters; may hold slashes.
        embedding: of the gallery's model, as ``client.embed`` answers it.
        model_sha256: the model that made it; if it is not the gallery's, the request is rejected.
        identity: the person it shows, if known.
        camera: the camera that took it, if known.
        track: which walk through the camera's view it belongs to, if known.
        timestamp: when it was taken, if known.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.

    Returns:
        The crop as it is stored.
    """
    body: dict[str, Any] = {
        "embedding": embedding,
        "model_sha256": model_sha256,
        "identity": identity,
    }
    body |= {"camera": camera, "track": track, "timestamp": timestamp, "zone": zone}
    path = at(_ONE, gallery=gallery, crop_id=crop_id)
    return send_json("PUT", path, api.StoredCrop, given(body), repeat="always")


def _add_embeddings(
    gallery: str, crops: Sequence[EmbeddedCrop], *, model_sha256: str | None = None
) -> Call[api.EnrolmentAnswer]:
    """Add or replace several crops by their embeddings: all of them, or none.

    Args:
        gallery: its name.
        crops: at most ``ops.info().limits.max_images``.
        model_sha256: the model that made the embeddings; if it is not the gallery's, the request is
            rejected.

    Returns:
        One result per crop, in order.
    """
    body = {"crops": [given(asdict(crop)) for crop in crops], "model_sha256": model_sha256}
    path = at(_ALL, gallery=gallery)
    return send_json("POST", path, api.EnrolmentAnswer, given(body), repeat="always")


def _export(
    gallery: str,
    path: Path | str,
    *,
    format: Literal["csv", "ndjson", "parquet"] | None = None,  # noqa: A002 - the API's name
    embeddings: bool = False,
    **where: Unpack[FilterFields],
) -> Call[Path]:
    """Write every crop of a gallery to a file, which an import can read; it is streamed.

    Args:
        gallery: its name.
        path: the file to write; it appears when the export is complete.
        format: the path's suffix if None.
        embeddings: add the crops' embeddings.
        where: the filter.

    Returns:
        The path.
    """
    file = Path(path)
    query = {**given(where), "format": format or file.suffix.lstrip("."), "embeddings": embeddings}
    return Call(
        method="GET",
        path=at(_ALL, gallery=gallery),
        query=query,
        read=lambda _: file,
        repeat="always",
        into=file,
    )


def _entry(crop: NewCrop) -> dict[str, Any]:
    names = ("crop_id", "identity", "camera", "track", "timestamp", "zone")
    return given({name: getattr(crop, name) for name in names})


def _delete(gallery: str, crop_id: str) -> Call[DeletionReceipt]:
    """Delete one crop, for good."""
    path = at(_ONE, gallery=gallery, crop_id=crop_id)
    return Call(method="DELETE", path=path, read=as_model(DeletionReceipt))


def _delete_where(
    gallery: str,
    *,
    all: bool = False,  # noqa: A002 - the API's name
    dry_run: bool = False,
    **where: Unpack[FilterFields],
) -> Call[DeletionReceipt]:
    """Delete every crop that passes a filter, for good.

    Args:
        gallery: its name.
        all: must be True if there is no filter.
        dry_run: only count what would be deleted.
        where: the filter.

    Returns:
        The receipt; it names what still holds one of the crops, such as snapshots.
    """
    body = {**given(where), "all": all, "dry_run": dry_run}
    path = at(_ALL, gallery=gallery) + "/delete"
    repeat: Repeat = "always" if dry_run else "refused"  # repeated, the receipt would count nothing
    return send_json("POST", path, DeletionReceipt, body, repeat=repeat)


def _picture(gallery: str, crop_id: str) -> Call[bytes]:
    """The picture of a crop as it was uploaded; only galleries with ``store_crops`` have any."""
    path = at("/galleries/{gallery}/pictures/{crop_id}", gallery=gallery, crop_id=crop_id)
    return Call(method="GET", path=path, read=lambda answer: answer.content, repeat="always")


class Crops(Group[Sender]):
    """Crops: the pictures of a gallery."""

    list = Route(_page)
    iterate = Pages(_every)
    get = Route(_get)
    put = Route(_put)
    add = Route(_add)
    add_frames = Route(add_frames)
    put_embedding = Route(_put_embedding)
    add_embeddings = Route(_add_embeddings)
    export = Route(_export)
    delete = Route(_delete)
    delete_where = Route(_delete_where)
    picture = Route(_picture)
