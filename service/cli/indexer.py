"""Index a folder of crops into a running service, as imports.

A crop that is already there with the same bytes and metadata is not sent again, so an interrupted
run is resumed by repeating it.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from service.api.jobs import JobRecord
from service.cli.packing import Part, pack
from service.client import Client, Conflict, JobFailed
from service.errors import ImageTooLarge
from service.gallery.base import Crop
from service.ingest.crop_names import CropFile, LeftOut
from service.ingest.findings import keep_known_identities
from service.ingest.summary import ImportSummary, summary_lines

_IN_THE_SERVICE = 2  # imports under way: one runs while the next one is received
_CANCEL_SECONDS = 10.0


@dataclass(slots=True)
class IndexReport:
    """What became of a folder.

    Attributes:
        created: new crops.
        replaced: crops whose bytes or metadata have changed.
        unchanged: crops that were already there.
        left_out: files that are not to be indexed.
        failed: files that could not be indexed, with the reasons.
        notes: what the service reports of its imports.
        not_used: files that were left out, by reason, and files whose names contain no metadata.
    """

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    left_out: int = 0
    failed: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_used: ImportSummary = field(default_factory=ImportSummary)

    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.created} new, {self.replaced} replaced, {self.unchanged} unchanged, "
            f"{self.left_out} left out, {len(self.failed)} failed"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to index and nothing failed."""
        return not (self.created or self.replaced or self.unchanged or self.failed)

    def said(self) -> list[str]:
        """Lines about what was left out, and what else the user should know."""
        return [*summary_lines(self.not_used.result()), *self.notes]

    def leave_out(self, entry: LeftOut) -> None:
        """Note a file that is not indexed."""
        if entry.is_error:
            self.failed.append(entry)
            return
        self.not_used.leave_out(entry)
        self.left_out += not entry.is_other

    def fail(self, path: Path, reason: str) -> None:
        """Note a file that could not be indexed."""
        self.failed.append(LeftOut(path, reason, is_error=True))


def index(
    client: Client, gallery: str, listing: Iterable[CropFile | LeftOut], report: IndexReport
) -> None:
    """Index files of this machine into a gallery, which is created if it does not exist.

    An interruption cancels the imports under way; what they have stored stays.

    Args:
        client: the service.
        gallery: the gallery's name.
        listing: the files, as :mod:`service.ingest.crop_names` lists them.
        report: filled in as imports end, so that it is right after an interruption, too.

    Raises:
        ServiceError: the service rejected an import as a whole, or cannot be reached.
    """
    limits = client.ops.info().limits
    files = _unique(listing, report)
    client.galleries.provide(gallery)
    known = {one.crop_id: Crop(**one.model_dump()) for one in client.crops.iterate(gallery)}
    with tqdm(total=len(files), unit="crop", disable=None) as progress:
        news = _news(files, known, report, progress, limits.max_image_bytes)
        with _Imports(client, report, progress) as imports:
            for part in pack(news, limits.max_import_bytes):
                imports.make_room()
                job = client.imports.upload(
                    gallery,
                    part.chunks,
                    content_type="application/x-tar",
                    idempotency_key=part.key,
                )
                imports.add(job, part)


def index_server_folder(
    client: Client, gallery: str, spec: Mapping[str, Any], report: IndexReport
) -> None:
    """Index a folder that the service itself can read; the gallery is created if necessary.

    Args:
        client: the service.
        gallery: the gallery's name.
        spec: arguments of ``client.imports.server_folder``, ``folder`` among them.
        report: filled in when the import has ended.

    Raises:
        ServiceError: the service rejected the import, or cannot be reached.
    """
    client.galleries.provide(gallery)
    with (
        tqdm(unit="crop", disable=None) as progress,
        _Imports(client, report, progress) as imports,
    ):
        imports.add(client.imports.server_folder(gallery, **spec), Part())


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

    def add(self, job: JobRecord, part: Part) -> None:
        """Follow a job that was started."""
        self._under_way.append((job.job_id, part))

    def _follow(self) -> None:
        """Wait for the end of the oldest import."""
        job_id, _ = self._under_way[0]
        job = self._client.jobs.wait(job_id, on_progress=self._show, check=False)
        self._settle(job)
        if job.state != "done":
            raise JobFailed(job)

    def _show(self, job: JobRecord) -> None:
        if not self._progress.total and job.total:
            self._progress.total = job.total
        self._progress.update(job.done - self._shown)
        self._shown = job.done

    def _settle(self, job: JobRecord) -> None:
        job_id, part = self._under_way.popleft()
        self._shown = 0
        self._report.created += job.counts.get("created", 0)
        self._report.replaced += job.counts.get("replaced", 0)
        self._report.unchanged += job.counts.get("unchanged", 0)
        self._report.left_out += job.counts.get("left_out", 0)
        self._report.notes += summary_lines(job.result or {})
        for failed in self._client.jobs.errors(job_id) if job.errors else ():
            file = part.files.get(failed.item)
            self._report.fail(Path(failed.item) if file is None else file.path, failed.reason)

    def _cancel(self) -> None:
        """Cancel what is under way, and count what it has done."""
        for job_id, _ in self._under_way:
            with suppress(Conflict):  # it has just ended
                self._client.jobs.cancel(job_id)
        deadline = time.monotonic() + _CANCEL_SECONDS
        with suppress(TimeoutError):
            while self._under_way:
                left = deadline - time.monotonic()
                job_id, _ = self._under_way[0]
                job = self._client.jobs.wait(
                    job_id, on_progress=self._show, timeout=left, check=False
                )
                self._settle(job)


def _unique(listing: Iterable[CropFile | LeftOut], report: IndexReport) -> list[CropFile]:
    files: dict[str, CropFile] = {}
    for entry in listing:
        if isinstance(entry, LeftOut):
            report.leave_out(entry)
            continue
        if entry.nameless:
            report.not_used.miss_names(entry.crop.crop_id)
        if (first := files.setdefault(entry.crop.crop_id, entry)) is not entry:
            reason = f"crop_id {entry.crop.crop_id!r} already belongs to {first.path}"
            report.fail(entry.path, reason)
    return list(files.values())


def _news(
    files: Iterable[CropFile],
    known: Mapping[str, Crop],
    report: IndexReport,
    progress: tqdm[Any],
    max_image_bytes: int,
) -> Iterator[tuple[CropFile, int]]:
    """Yield files that the gallery does not hold yet, with their sizes; count the others."""
    for file in files:
        try:
            size, digest = _measure(file.path, max_image_bytes)
        except (OSError, ImageTooLarge) as error:
            report.fail(file.path, getattr(error, "strerror", None) or str(error))
            progress.update()
            continue
        (crop,) = keep_known_identities([replace(file.crop, digest=digest)], known)
        if known.get(crop.crop_id) == crop:
            report.unchanged += 1
            progress.update()
        else:
            yield file, size


def _measure(path: Path, most: int) -> tuple[int, str]:
    size = path.stat().st_size
    if size > most:
        raise ImageTooLarge(f"{size:,} bytes: the service accepts at most {most:,}")
    return size, hashlib.sha256(path.read_bytes()).hexdigest()
