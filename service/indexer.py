"""A folder of crops into a running service, batch by batch.

Every batch is durable once it is answered, and a crop that is already there with the same bytes
and the same metadata is not sent again: an import that was interrupted is resumed by repeating it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from service.client import Client
from service.crop_names import CropFile, LeftOut
from service.gallery.base import Crop
from service.upload import Upload

_BATCH = 32
_PARALLEL = 3
_HEADERS = 2048  # bytes a multipart message spends on one image, rounded up


@dataclass(slots=True)
class IndexReport:
    """What became of a folder.

    Attributes:
        created: crops that are new.
        replaced: crops whose bytes or metadata differ from before.
        unchanged: crops that were already there.
        left_out: files that are not meant to be indexed, and why.
        failed: files that could not be indexed, and why.
    """

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    failed: list[LeftOut] = field(default_factory=list)

    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.created} new, {self.replaced} replaced, {self.unchanged} unchanged, "
            f"{len(self.left_out)} left out, {len(self.failed)} failed"
        )


@dataclass(frozen=True, slots=True)
class _Loaded:
    path: Path
    crop: Crop
    data: bytes


def index(
    client: Client, gallery: str, listing: Iterable[CropFile | LeftOut], report: IndexReport
) -> None:
    """Index files into a gallery, which is created where it does not exist.

    Args:
        client: the service.
        gallery: the gallery's name.
        listing: the files, as :mod:`service.crop_names` lists them.
        report: filled in as batches are answered, so that it is right after an interruption too.

    Raises:
        ServiceError: the service refused a batch as a whole or is gone.
    """
    limits = client.info()["limits"]
    files = _unique(listing, report)
    client.provide_gallery(gallery)
    known = {crop.crop_id: crop for crop in client.crops(gallery)}
    with tqdm(total=len(files), unit="crop", disable=None) as progress:
        news = _news(files, known, report, progress, limits["max_image_bytes"])
        _send_all(client, gallery, _batches(news, limits), report, progress)


def _unique(listing: Iterable[CropFile | LeftOut], report: IndexReport) -> list[CropFile]:
    files: dict[str, CropFile] = {}
    for entry in listing:
        if isinstance(entry, LeftOut):
            (report.failed if entry.is_error else report.left_out).append(entry)
        elif (first := files.setdefault(entry.crop.crop_id, entry)) is not entry:
            reason = f"crop_id {entry.crop.crop_id!r} belongs to {first.path} already"
            report.failed.append(LeftOut(entry.path, reason, is_error=True))
    return list(files.values())


def _news(
    files: Iterable[CropFile],
    known: Mapping[str, Crop],
    report: IndexReport,
    progress: tqdm[Any],
    max_image_bytes: int,
) -> Iterator[_Loaded]:
    """The files the gallery does not hold yet, read; the others are only counted."""
    for file in files:
        try:
            data = file.path.read_bytes()
        except OSError as error:
            report.failed.append(LeftOut(file.path, error.strerror or str(error), is_error=True))
            progress.update()
            continue
        crop = replace(file.crop, digest=hashlib.sha256(data).hexdigest())
        if known.get(crop.crop_id) == crop:
            report.unchanged += 1
            progress.update()
        elif len(data) > max_image_bytes:
            reason = f"{len(data):,} bytes: the service takes at most {max_image_bytes:,}"
            report.failed.append(LeftOut(file.path, reason, is_error=True))
            progress.update()
        else:
            yield _Loaded(file.path, crop, data)


def _batches(news: Iterable[_Loaded], limits: Mapping[str, int]) -> Iterator[list[_Loaded]]:
    most, most_bytes = min(_BATCH, limits["max_images"]), limits["max_request_bytes"]
    batch: list[_Loaded] = []
    size = 0
    for loaded in news:
        added = len(loaded.data) + _HEADERS
        if batch and (len(batch) == most or size + added > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(loaded)
        size += added
    if batch:
        yield batch


def _send_all(
    client: Client,
    gallery: str,
    batches: Iterable[list[_Loaded]],
    report: IndexReport,
    progress: tqdm[Any],
) -> None:
    # Some batches are always under way, so that the network does not wait for files and sockets.
    under_way: deque[tuple[list[_Loaded], Future[list[dict[str, Any]]]]] = deque()
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="index")
    try:
        for batch in batches:
            under_way.append((batch, pool.submit(_send, client, gallery, batch)))
            if len(under_way) > _PARALLEL:
                _count(*under_way.popleft(), report, progress)
        while under_way:
            _count(*under_way.popleft(), report, progress)
    finally:
        pool.shutdown(cancel_futures=True)


def _send(client: Client, gallery: str, batch: Sequence[_Loaded]) -> list[dict[str, Any]]:
    uploads = [Upload(loaded.path.name, loaded.data) for loaded in batch]
    return client.add_crops(gallery, uploads, [loaded.crop for loaded in batch])


def _count(
    batch: Sequence[_Loaded],
    answer: Future[list[dict[str, Any]]],
    report: IndexReport,
    progress: tqdm[Any],
) -> None:
    for loaded, result in zip(batch, answer.result(), strict=True):
        match result["status"]:
            case "created":
                report.created += 1
            case "replaced":
                report.replaced += 1
            case _:
                reason = result["error"]["detail"]
                report.failed.append(LeftOut(loaded.path, reason, is_error=True))
    progress.update(len(batch))
