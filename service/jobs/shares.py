"""What one client, and one gallery, may keep of the job board: waiting jobs and received bytes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from service.errors import Overloaded, StorageFull, TooLarge, TooManyRequests
from service.jobs.base import Job, Order

MAX_WAITING = 1000
"""Jobs of everybody that may wait."""
WAITING_EACH = 100
"""Jobs of one client that may wait; of one gallery twice as many."""
RECEIVING_EACH = 4
"""Imports of one client that are received at the same time."""
KEPT_BYTES = 32 << 30
"""Bytes of received imports that one client may keep; of one gallery twice as many."""

# One client alone cannot use up what a gallery that others write to, too, may keep.
_GALLERY = 2
_MAX_SPEC = 256 << 10
_LEFT_FREE, _LEFT_SHARE = 1 << 30, 20  # bytes of the disk an import leaves to others: 1 GiB or 5 %
_SOON, _LATER = 30, 60  # seconds after which asking again may help


@dataclass(slots=True)
class _Kept:
    """Bytes that are charged to a client and a gallery.

    Attributes:
        failed: when its job failed; None while it waits, runs or is received.
    """

    client: str | None
    gallery: str
    size: int
    failed: float | None = None


class Shares:
    """Counts what is kept; the caller keeps others from asking at the same time.

    Args:
        folder: where received files lie.
        kept_bytes: most of one client.
        remove: removes what a failed job received; called where newer files need the room.
    """

    def __init__(self, folder: Path, kept_bytes: int, remove: Callable[[str], None]) -> None:
        self._folder = folder
        self._most = kept_bytes
        self._remove = remove
        self._kept: dict[str, _Kept] = {}  # by job id
        self._coming: dict[Path, _Kept] = {}  # by the folder it is received in

    def check_waiting(self, order: Order, waiting: Iterable[Job]) -> None:
        """Whether one more job may wait.

        Args:
            order: the job.
            waiting: those that wait already.

        Raises:
            TooLarge: it is asked for with too many words.
            TooManyRequests: its client, or its gallery, has too many jobs that wait.
            Overloaded: everybody together has.
        """
        if len(order.spec_text) > _MAX_SPEC:
            raise TooLarge(f"a job may be asked for with {_MAX_SPEC:,} bytes: filter less finely")
        counts = Counter[tuple[str, str | None]]()
        for job in waiting:
            counts.update((("client", job.order.client), ("gallery", job.gallery), ("all", "")))
        if counts["all", ""] >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} jobs wait already", retry_after=_SOON)
        if order.client is None:
            return
        if counts["client", order.client] >= WAITING_EACH:
            raise TooManyRequests(f"{WAITING_EACH} of your jobs wait already", retry_after=_SOON)
        if counts["gallery", order.gallery] >= WAITING_EACH * _GALLERY:
            raise TooManyRequests(
                f"{WAITING_EACH * _GALLERY} jobs of gallery {order.gallery!r} wait already",
                retry_after=_SOON,
            )

    def begin(self, folder: Path, client: str | None, gallery: str, announced: int) -> None:
        """Take note of an import that is to be received.

        Args:
            folder: what it will be received in.
            client: who pays.
            gallery: where it will go.
            announced: its bytes, 0 where nobody said.

        Raises:
            TooManyRequests: the client sends too many at once, or keeps too much.
            TooLarge: it alone is more than may be kept.
            StorageFull: the disk has no room to spare.
        """
        coming = sum(one.client == client for one in self._coming.values())
        if client is not None and coming >= RECEIVING_EACH:
            raise TooManyRequests(
                f"{RECEIVING_EACH} of your imports are being received already", retry_after=_SOON
            )
        self._coming[folder] = _Kept(client, gallery, 0)
        try:
            self.charge(folder, announced)
        except BaseException:
            self.end(folder)
            raise

    def charge(self, folder: Path, size: int) -> None:
        """Take note that an import has so many bytes, or will have. Raises as :meth:`begin`."""
        coming = self._coming[folder]
        self._require_room(max(size - coming.size, 0))
        if size > coming.size:
            self._make_way("client", coming.client, size - coming.size, self._most)
            self._make_way("gallery", coming.gallery, size - coming.size, _GALLERY * self._most)
            coming.size = size

    def settle(self, folder: Path, size: int) -> None:
        """Charge what was received by its final size; it becomes a job's. Raises as :meth:`begin`.

        Args:
            folder: what it was received in.
            size: bytes of all its files.
        """
        if folder in self._coming:
            self.charge(folder, size)
            self.end(folder)

    def end(self, folder: Path) -> None:
        """Forget an import that was received, or never will be."""
        self._coming.pop(folder, None)

    def keep(self, job: Job) -> None:
        """Take note of what a job keeps."""
        if job.kept:
            failed = (job.finished or job.created) if job.state == "failed" else None
            self._kept[job.job_id] = _Kept(job.order.client, job.gallery, job.kept, failed)
        else:
            self._kept.pop(job.job_id, None)

    def forget(self, job_id: str) -> None:
        """Take note that a job keeps nothing any more."""
        self._kept.pop(job_id, None)

    def _require_room(self, more: int) -> None:
        folder = self._folder if self._folder.exists() else self._folder.parent
        disk = shutil.disk_usage(folder)
        if disk.free - more < min(_LEFT_FREE, disk.total // _LEFT_SHARE):
            raise StorageFull("the data folder's disk has no room for an import of this size")

    def _make_way(self, kind: str, name: str | None, more: int, most: int) -> None:
        """Remove what failed jobs keep, the oldest first, until there is room for more bytes."""
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
            raise TooLarge(f"an import may have {most:,} bytes (REID_MAX_KEPT_BYTES)")
        if used - spare + more > most:
            whose = "your" if kind == "client" else f"gallery {name!r}'s"
            raise TooManyRequests(
                f"{whose} imports that wait or run keep {used - spare:,} bytes, and may keep "
                f"{most:,}: wait until some are done, or cancel them",
                retry_after=_LATER,
            )
        for _, job in failed:
            if used + more <= most:
                return
            used -= self._kept[job].size
            self._remove(job)
            self.forget(job)
