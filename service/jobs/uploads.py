"""Files uploaded for jobs: their folders, and how many bytes a client or a gallery may keep.

::

    <data>/jobs/<job id>/      of a job that waits, runs, or failed and can be resumed
    <data>/jobs/.incoming-*/   an upload in progress; removed at the next start
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import StorageFull, TooLarge, TooManyRequests
from service.jobs.job import Job, Order
from service.machine.durable import disk_errors, move_durably

RECEIVING_EACH = 4
"""Most uploads of one client at the same time."""
KEPT_BYTES = 32 << 30
"""Default for the most bytes one client may keep; twice as many per gallery."""

_INCOMING = ".incoming-"
# One client alone must not use up the quota of a gallery that others write to as well.
_GALLERY = 2
_LEFT_FREE, _LEFT_SHARE = 1 << 30, 20  # an import leaves 1 GiB or 5 % of the disk free
_SOON, _LATER = 30, 60  # seconds after which a retry may succeed


class Uploads:
    """The uploads of all jobs, charged to their clients; safe to call from several threads.

    Args:
        folder: ``<data>/jobs``.
        kept_bytes: quota of one client.
        lock: the job board's; one thread may take it twice.
        give_way: stores that a failed job has lost its upload because its client needs the room.
    """

    def __init__(
        self,
        folder: Path,
        kept_bytes: int,
        lock: AbstractContextManager[object],
        give_way: Callable[[str], None],
    ) -> None:
        self._folders = JobFolders(folder)
        self._quotas = UploadQuotas(folder, kept_bytes, self._remove)
        self._lock = lock
        self._give_way = give_way

    @contextmanager
    def receiving(self, order: Order | None, announced: int) -> Iterator[Path]:
        """Provide a folder for an upload; see ``JobBoard.receiving``."""
        with self._folders.receiving() as folder:
            if order is None:
                yield folder
                return
            with self._lock:
                self._quotas.begin(folder, order.client, order.gallery, announced)
            try:
                yield folder
            finally:
                with self._lock:
                    self._quotas.end(folder)

    def charge(self, folder: Path, size: int) -> None:
        """Charge the bytes received so far. Raises as :meth:`UploadQuotas.begin`."""
        with self._lock:
            self._quotas.charge(folder, size)

    def take(self, received: Path, job: Job) -> Job:
        """Make an upload a new job's, durable on return. Raises as :meth:`UploadQuotas.begin`."""
        size = self._folders.size(received)
        with self._lock:
            self._quotas.settle(received, size)
        self._folders.take(received, job.job_id)
        return replace(job, kept=size)

    def keep(self, job: Job) -> None:
        """Charge for what a job keeps."""
        with self._lock:
            self._quotas.keep(job)

    def drop(self, job_id: str) -> None:
        """Remove a job's upload and stop charging for it."""
        self._folders.discard(job_id)
        with self._lock:
            self._quotas.forget(job_id)

    def restore(self, jobs: Sequence[Job]) -> None:
        """Charge for what these jobs keep after a restart, and remove all other folders."""
        self._folders.sweep({job.job_id for job in jobs})
        for job in jobs:
            self.keep(replace(job, kept=self._folders.size(self.folder_of(job.job_id))))

    def folder_of(self, job_id: str) -> Path:
        """The folder of a job, which need not exist."""
        return self._folders.of(job_id)

    def holds_files(self, job_id: str) -> bool:
        """Whether a job's upload is still stored."""
        return self._folders.holds_files(job_id)

    def _remove(self, job_id: str) -> None:
        self._give_way(job_id)
        self._folders.discard(job_id)


class JobFolders:
    """One folder per job.

    Args:
        folder: the parent; created when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, job_id: str) -> Path:
        """The folder of a job, which need not exist."""
        return self._folder / job_id

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """Provide a new folder, removed at the end unless a job has taken it.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        folder = self._folder / f"{_INCOMING}{secrets.token_hex(8)}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def take(self, received: Path, job_id: str) -> None:
        """Make an upload a job's folder, durable on return. Raises as :meth:`receiving`."""
        with disk_errors(received):
            move_durably(received, self.of(job_id))

    def holds_files(self, job_id: str) -> bool:
        """Whether a job's folder holds anything."""
        try:
            return any(self.of(job_id).iterdir())
        except OSError:  # no folder, or removed meanwhile
            return False

    def size(self, folder: Path) -> int:
        """Bytes of the files in a folder; 0 if it does not exist."""
        try:
            return sum(path.stat().st_size for path in folder.iterdir())
        except OSError:
            return 0

    def discard(self, job_id: str) -> None:
        """Remove a job's folder, if it exists."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def sweep(self, kept: Collection[str]) -> None:
        """Remove all folders except those of some jobs. Raises as :meth:`receiving`."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for entry in self._folder.iterdir():
                if entry.name not in kept:
                    shutil.rmtree(entry, ignore_errors=True)


@dataclass(slots=True)
class _Kept:
    """Bytes charged to a client and a gallery.

    Attributes:
        failed: when the job failed; None while it waits, runs or is being uploaded.
    """

    client: str | None
    gallery: str
    size: int
    failed: float | None = None


class UploadQuotas:
    """Counts the bytes of uploads; the caller must hold the job board's lock.

    Args:
        folder: where uploads are stored.
        kept_bytes: quota of one client.
        remove: removes the upload of a failed job; called when newer uploads need the room.
    """

    def __init__(self, folder: Path, kept_bytes: int, remove: Callable[[str], None]) -> None:
        self._folder = folder
        self._most = kept_bytes
        self._remove = remove
        self._kept: dict[str, _Kept] = {}  # by job id
        self._coming: dict[Path, _Kept] = {}  # uploads in progress, by folder

    def begin(self, folder: Path, client: str | None, gallery: str, announced: int) -> None:
        """Register an upload that is about to start.

        Args:
            folder: where it will be stored.
            client: whose quota is charged.
            gallery: the gallery it is for.
            announced: its size in bytes; 0 if unknown.

        Raises:
            TooManyRequests: the client has too many uploads in progress, or keeps too many bytes.
            TooLarge: this upload alone exceeds the quota.
            StorageFull: the disk has no room for it.
        """
        coming = sum(one.client == client for one in self._coming.values())
        if client is not None and coming >= RECEIVING_EACH:
            raise TooManyRequests(
                f"{RECEIVING_EACH} of your imports are already being received", retry_after=_SOON
            )
        self._coming[folder] = _Kept(client, gallery, 0)
        try:
            self.charge(folder, announced)
        except BaseException:
            self.end(folder)
            raise

    def charge(self, folder: Path, size: int) -> None:
        """Charge an upload for its size so far. Raises as :meth:`begin`."""
        coming = self._coming[folder]
        self._require_room(max(size - coming.size, 0))
        if size > coming.size:
            self._make_room("client", coming.client, size - coming.size, self._most)
            self._make_room("gallery", coming.gallery, size - coming.size, _GALLERY * self._most)
            coming.size = size

    def settle(self, folder: Path, size: int) -> None:
        """Charge an upload for its final size; a job takes it over. Raises as :meth:`begin`.

        Args:
            folder: where it is stored.
            size: bytes of all its files.
        """
        if folder in self._coming:
            self.charge(folder, size)
            self.end(folder)

    def end(self, folder: Path) -> None:
        """Forget an upload that is complete or was abandoned."""
        self._coming.pop(folder, None)

    def keep(self, job: Job) -> None:
        """Charge for what a job keeps."""
        if job.kept:
            failed = (job.finished or job.created) if job.state == "failed" else None
            self._kept[job.job_id] = _Kept(job.order.client, job.gallery, job.kept, failed)
        else:
            self._kept.pop(job.job_id, None)

    def forget(self, job_id: str) -> None:
        """Stop charging for a job."""
        self._kept.pop(job_id, None)

    def _require_room(self, more: int) -> None:
        folder = self._folder if self._folder.exists() else self._folder.parent
        disk = shutil.disk_usage(folder)
        if disk.free - more < min(_LEFT_FREE, disk.total // _LEFT_SHARE):
            raise StorageFull("the data folder's disk has no room for an import of this size")

    def _make_room(self, kind: str, name: str | None, more: int, most: int) -> None:
        """Remove uploads of failed jobs, oldest first, until ``more`` bytes fit the quota."""
        if name is None:
            return
        mine = {job: one for job, one in self._kept.items() if getattr(one, kind) == name}
        coming = (one for one in self._coming.values() if getattr(one, kind) == name)
        used = sum(one.size for one in (*mine.values(), *coming))
        failed = sorted(
            ((one.failed, job) for job, one in mine.items() if one.failed is not None),
        )
        spare = sum(self._kept[job].size for _, job in failed)
        if more > most:
            raise TooLarge(f"an import may have at most {most:,} bytes (REID_MAX_KEPT_BYTES)")
        if used - spare + more > most:
            whose = "your" if kind == "client" else f"gallery {name!r}'s"
            raise TooManyRequests(
                f"{whose} waiting and running imports keep {used - spare:,} bytes of at most "
                f"{most:,}: wait until some of them are done, or cancel them",
                retry_after=_LATER,
            )
        for _, job in failed:
            if used + more <= most:
                return
            used -= self._kept[job].size
            self._remove(job)
            self.forget(job)
