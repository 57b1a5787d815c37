"""A folder of crops into a running service, as imports.

A crop that is already there with the same bytes and the same metadata is not sent again: indexing
that was interrupted is resumed by repeating it.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from service.cli.packing import Part, pack
from service.cli.service_client import Client, ServiceError
from service.errors import ImageTooLarge
from service.gallery.base import Crop
from service.ingest.crop_names import CropFile, LeftOut
from service.ingest.joining import keep_findings
from service.ingest.tally import Tally, told

_IN_THE_SERVICE = 2  # imports under way: one runs while the next one is received
_ASK_SECONDS = (0.05, 1.0)
_CANCEL_SECONDS = 10.0


@dataclass(slots=True)
class IndexReport:
    """What became of a folder.

    Attributes:
        created: crops that are new.
        replaced: crops whose bytes or metadata differ from before.
        unchanged: crops that were already there.
        left_out: files that are not meant to be indexed.
        failed: files that could not be indexed, and why.
        notes: what the service says of its imports.
        tally: the files that are left out, by reason, and those whose names tell nothing.
    """

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    left_out: int = 0
    failed: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.created} new, {self.replaced} replaced, {self.unchanged} unchanged, "
            f"{self.left_out} left out, {len(self.failed)} failed"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to index, nor anything that failed."""
        return not (self.created or self.replaced or self.unchanged or self.failed)

    def said(self) -> list[str]:
        """Lines about what is left out and what has to be known."""
        return [*told(self.tally.result()), *self.notes]

    def leave_out(self, entry: LeftOut) -> None:
        """Note a file that is not indexed."""
        if entry.is_error:
            self.failed.append(entry)
            return
        self.tally.leave_out(entry)
        self.left_out += not entry.is_other

    def fail(self, path: Path, reason: str) -> None:
        """Note a file that could not be indexed."""
        self.failed.append(LeftOut(path, reason, is_error=True))


def index(
    client: Client, gallery: str, listing: Iterable[CropFile | LeftOut], report: IndexReport
) -> None:
    """Index files of this machine into a gallery, which is created where it does not exist.

    An interruption cancels the imports under way; what they have stored stays.

    Args:
        client: the service.
        gallery: the gallery's name.
        listing: the files, as :mod:`service.ingest.crop_names` lists them.
        report: filled in as imports end, so that it is right after an interruption too.

    Raises:
        ServiceError: the service refused an import as a whole or is gone.
    """
    limits = client.info()["limits"]
    files = _unique(listing, report)
    client.provide_gallery(gallery)
    known = {crop.crop_id: crop for crop in client.crops(gallery)}
    with tqdm(total=len(files), unit="crop", disable=None) as progress:
        news = _news(files, known, report, progress, limits["max_image_bytes"])
        with _Imports(client, report, progress) as imports:
            for part in pack(news, limits["max_import_bytes"]):
                imports.make_room()
                job = client.import_archive(gallery, "application/x-tar", part.chunks, part.key)
                imports.add(job, part)


def index_server_folder(
    client: Client, gallery: str, spec: Mapping[str, Any], report: IndexReport
) -> None:
    """Index a folder the service itself can read into a gallery, created where it does not exist.

    Args:
        client: the service.
        gallery: the gallery's name.
        spec: ``folder``, ``pattern`` or ``manifest`` where names are not Market-1501's, and
            ``zone`` and ``zones`` where times have none.
        report: filled in when the import has ended.

    Raises:
        ServiceError: the service refused the import or is gone.
    """
    client.provide_gallery(gallery)
    with (
        tqdm(unit="crop", disable=None) as progress,
        _Imports(client, report, progress) as imports,
    ):
        imports.add(client.import_folder(gallery, spec), Part())


class _Imports:
    """Imports under way, followed to their ends in the order in which they were started."""

    def __init__(self, client: Client, report: IndexReport, progress: tqdm[Any]) -> None:
        self._client = client
        self._report = report
        self._progress = progress
        self._under_way: deque[tuple[str, Part]] = deque()
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._under_way:
                self._follow()
        finally:
            self._cancel()

    def make_room(self) -> None:
        """Wait until another import may be sent."""
        while len(self._under_way) >= _IN_THE_SERVICE:
            self._follow()

    def add(self, job: Mapping[str, Any], part: Part) -> None:
        """Take a job that was started."""
        self._under_way.append((job["job_id"], part))

    def _follow(self) -> None:
        """Wait for the end of the oldest import."""
        pause, longest = _ASK_SECONDS
        while (job := self._look())["finished"] is None:
            time.sleep(pause)
            pause = min(2 * pause, longest)
        self._settle(job)
        if job["state"] != "done":
            raise ServiceError(f"import {job['job_id']} {job['state']}: {job['error']}")

    def _look(self) -> dict[str, Any]:
        job = self._client.job(self._under_way[0][0])
        if not self._progress.total and job["total"]:
            self._progress.total = job["total"]
        self._progress.update(job["done"] - self._shown)
        self._shown = job["done"]
        return job

    def _settle(self, job: Mapping[str, Any]) -> None:
        job_id, part = self._under_way.popleft()
        self._shown = 0
        counts = job["counts"]
        self._report.created += counts.get("created", 0)
        self._report.replaced += counts.get("replaced", 0)
        self._report.unchanged += counts.get("unchanged", 0)
        self._report.left_out += counts.get("left_out", 0)
        self._report.notes += told(job["result"] or {})
        if job["errors"]:
            for item, reason in self._client.job_errors(job_id):
                file = part.files.get(item)
                self._report.fail(Path(item) if file is None else file.path, reason)

    def _cancel(self) -> None:
        """Cancel what is under way, and count what it has done."""
        for job_id, _ in self._under_way:
            self._client.cancel_job(job_id)
        deadline = time.monotonic() + _CANCEL_SECONDS
        while self._under_way and time.monotonic() < deadline:
            job = self._look()
            if job["finished"] is None:
                time.sleep(_ASK_SECONDS[0])
            else:
                self._settle(job)


def _unique(listing: Iterable[CropFile | LeftOut], report: IndexReport) -> list[CropFile]:
    files: dict[str, CropFile] = {}
    for entry in listing:
        if isinstance(entry, LeftOut):
            report.leave_out(entry)
            continue
        if entry.nameless:
            report.tally.miss_names(entry.crop.crop_id)
        if (first := files.setdefault(entry.crop.crop_id, entry)) is not entry:
            reason = f"crop_id {entry.crop.crop_id!r} belongs to {first.path} already"
            report.fail(entry.path, reason)
    return list(files.values())


def _news(
    files: Iterable[CropFile],
    known: Mapping[str, Crop],
    report: IndexReport,
    progress: tqdm[Any],
    max_image_bytes: int,
) -> Iterator[tuple[CropFile, int]]:
    """The files the gallery does not hold yet, and their sizes; the others are only counted."""
    for file in files:
        try:
            size, digest = _measure(file.path, max_image_bytes)
        except (OSError, ImageTooLarge) as error:
            report.fail(file.path, getattr(error, "strerror", None) or str(error))
            progress.update()
            continue
        (crop,) = keep_findings([replace(file.crop, digest=digest)], known)
        if known.get(crop.crop_id) == crop:
            report.unchanged += 1
            progress.update()
        else:
            yield file, size


def _measure(path: Path, most: int) -> tuple[int, str]:
    size = path.stat().st_size
    if size > most:
        raise ImageTooLarge(f"{size:,} bytes: the service takes at most {most:,}")
    return size, hashlib.sha256(path.read_bytes()).hexdigest()
