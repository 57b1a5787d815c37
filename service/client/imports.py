"""Imports: many crops at once, as a job."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from service.api.jobs import JobRecord
from service.client import tar_stream
from service.client.call import Call, Repeat, as_model, at, given
from service.client.errors import InvalidInput
from service.client.fields import ImportFields, NamingFields, UploadFields
from service.client.routes import Group, Route, Sender

_PATH = "/galleries/{gallery}/imports"
_CHUNK = 1 << 18
_TAR = "application/x-tar"
_BY_CONTENT = "application/octet-stream"
_TYPES = {
    ".tar": _TAR,
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".zip": "application/zip",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
}

Upload = Path | bytes | Iterable[bytes] | AsyncIterable[bytes] | Callable[[], Iterable[bytes]]
"""A file, its bytes, or its pieces. A function that makes the pieces can be called again for a
retry; other pieces can be sent only once. Only ``AsyncClient`` takes asynchronous pieces."""


def _upload(
    gallery: str,
    body: Upload,
    *,
    content_type: str | None = None,
    encoding: str | None = None,
    zones: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    **reading: Unpack[UploadFields],
) -> Call[JobRecord]:
    """Import an archive, a manifest or a video; it is streamed.

    Args:
        gallery: an existing gallery.
        body: a tar (also gzipped), zip, CSV, NDJSON or Parquet file, or a video.
        content_type: its type; if None, the suffix of a path or else the content says it.
        encoding: of member names that are not UTF-8, such as ``cp437``.
        zones: zones of single cameras.
        idempotency_key: repeating a request with the same key and content returns the same job.
        reading: ``pattern`` or ``layout`` of the members' names, and the ``zone`` of times. For a
            video: its ``name``, which begins the ids of its frames and is that of the file if it is
            absent, its ``pattern``, ``camera``, ``timestamp``, ``fps``, ``tiles``, ``score`` and
            ``tracks``.

    Returns:
        The job; wait for it with ``client.jobs.wait``.
    """
    kind = content_type or _type_of(body)
    query = {**reading, "encoding": encoding}
    if isinstance(body, Path) and kind.startswith("video/"):
        query = {"name": body.name} | query
    query["zones"] = [f"{camera}={zone}" for camera, zone in (zones or {}).items()] or None
    headers = {
        "Content-Type": kind,
        "Idempotency-Key": idempotency_key or secrets.token_hex(16),
    }
    if isinstance(body, Path):
        headers["Content-Length"] = str(_size(body))
    return Call(
        method="POST",
        path=at(_PATH, gallery=gallery),
        read=as_model(JobRecord),
        query=given(query),
        headers=headers,
        body=lambda: {"content": _pieces(body)},
        repeat=_repeat(body),
    )


def _upload_folder(
    gallery: str,
    folder: Path | str,
    *,
    zones: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    **naming: Unpack[NamingFields],
) -> Call[JobRecord]:
    """Import a folder of this machine; it is streamed as a tar archive.

    Args:
        gallery: an existing gallery.
        folder: crops, and perhaps a ``manifest.ndjson``, ``.jsonl``, ``.csv`` or ``.parquet``.
        zones: zones of single cameras.
        idempotency_key: repeating a request with the same key and content returns the same job.
        naming: ``pattern`` or ``layout`` of the file names, and the ``zone`` of times.

    Returns:
        The job; wait for it with ``client.jobs.wait``.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidInput(f"Invalid input: {folder}: no such folder")
    return _upload(
        gallery,
        lambda: tar_stream.folder(root),
        content_type=_TAR,
        zones=zones,
        idempotency_key=idempotency_key,
        **naming,
    )


def _server_folder(
    gallery: str,
    folder: str,
    *,
    manifest: str | None = None,
    zones: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    **reading: Unpack[ImportFields],
) -> Call[JobRecord]:
    """Import a folder that the service itself can read.

    Args:
        gallery: an existing gallery.
        folder: relative to a folder of the service's REID_IMPORT_ROOTS.
        manifest: a file in that folder that lists the crops.
        zones: zones of single cameras.
        idempotency_key: repeating a request with the same key and content returns the same job.
        reading: ``pattern`` or ``layout`` of the file names, and the ``zone`` of times. For
            videos: ``camera``, ``timestamp``, ``fps``, ``tiles``, ``score`` and ``tracks``.

    Returns:
        The job; wait for it with ``client.jobs.wait``.
    """
    fields = {"folder": folder, "manifest": manifest, "zones": zones and dict(zones), **reading}
    return Call(
        method="POST",
        path=at(_PATH, gallery=gallery),
        read=as_model(JobRecord),
        headers={"Idempotency-Key": idempotency_key or secrets.token_hex(16)},
        body=lambda: {"json": given(fields)},
        repeat="always",
    )


def _type_of(body: Upload) -> str:
    return _TYPES.get(body.suffix.lower(), _BY_CONTENT) if isinstance(body, Path) else _BY_CONTENT


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InvalidInput(f"Invalid input: {path}: {error.strerror}") from error


def _repeat(body: Upload) -> Repeat:
    return "always" if isinstance(body, Path | bytes) or callable(body) else "unsent"


def _pieces(body: Upload) -> Any:
    match body:
        case Path():
            return _read(body)
        case bytes():
            return body
        case _:
            return body() if callable(body) else body


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class Imports(Group[Sender]):
    """Imports: many crops at once, as a job."""

    upload = Route(_upload)
    upload_folder = Route(_upload_folder)
    server_folder = Route(_server_folder)
