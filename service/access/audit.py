"""The audit log: who searched or changed what, and when. It never says whom they searched for.

A folder of text files, one per day (UTC), one JSON object per line; entries are only appended.
Entries outlive the erasure of a person, so they must reveal nothing about a person: no picture,
embedding, crop id, identity, path, query string or file name. The SHA-256 of a query's file is
logged: someone who has the file can check whether it was searched for, and nobody else learns
anything from it.

The file ``reserve`` in the same folder reserves disk space for entries of revocations and erasures.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.access.audit_pages import AuditPage, days, read_page
from service.access.entry import AuditEntry, line_of
from service.errors import StorageFull, Unavailable, disk_error
from service.machine.background import Report
from service.machine.disk_reserve import FILE, Reserve, ReserveUse
from service.machine.durable import sync_folder

FOLDER = "audit"
_LEAST_ROOM = 1 << 16  # bytes
_RESERVE = 1 << 20  # bytes: about 3,000 entries of erasures and 1,000 of revocations
_STEP = 1 << 14  # bytes released at a time
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    line: bytes
    durable: bool
    share: ReserveUse
    written: Future[None] = field(default_factory=Future)


class AuditLog:
    """Appends entries from one thread, in batches if several wait, and reads them back.

    Args:
        folder: holds the files; created with the first entry.
        keep_days: files older than this are removed.
        report: counts entries that could not be written.
    """

    def __init__(self, folder: Path, keep_days: int, report: Report) -> None:
        self._folder = folder
        self._report = report
        self._keep_days = keep_days
        self._reserve = Reserve(folder / FILE, _RESERVE)
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._writer = ThreadPoolExecutor(1, "audit")
        self._day = ""
        self._file = -1
        self._torn = False  # whether the file may end in half a line
        self._failed = False

    def write(
        self, entry: AuditEntry, *, durable: bool, share: ReserveUse = "none"
    ) -> Future[None]:
        """Append an entry.

        Args:
            entry: what happened; values that break the rule of their field are left out.
            durable: sync the entry to disk before the future is done.
            share: how much of the reserve it may use on a full disk.

        Returns:
            A future that is done once the entry is written, or fails with ``OSError``.
        """
        pending = _Pending(line_of(entry), durable, share)
        with self._lock:
            self._pending.append(pending)
        self._writer.submit(self._flush)
        return pending.written

    def require_room(self, share: ReserveUse = "none") -> None:
        """Check, before an action, that it can be logged.

        Args:
            share: how much of the reserve its entry may use. An action that may use the reserve is
                allowed on a full disk too; in the worst case its entry is only in the process log.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the folder cannot be written for another reason.
        """
        try:
            self._require_room()
        except StorageFull:
            if share == "none":
                raise

    def page(
        self, since: float | None, until: float | None, limit: int, cursor: str | None
    ) -> AuditPage:
        """Read entries; see :func:`service.access.audit_pages.read_page`."""
        return read_page(self._folder, since, until, limit, cursor)

    def close(self) -> None:
        """Write pending entries, then close the file."""
        self._writer.shutdown()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _require_room(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self._folder)
            if disk.f_flag & os.ST_RDONLY:
                raise Unavailable(
                    "the audit log cannot be written: the file system is read-only", 10
                )
            if disk.f_bavail * disk.f_frsize < _LEAST_ROOM or not self._reserve.keep():
                raise StorageFull("the audit log cannot be written: the disk is full")
            if self._failed:
                self._writer.submit(self._probe).result()
        except OSError as error:
            raise disk_error("the audit log cannot be written", error) from error

    def _flush(self) -> None:
        with self._lock:
            batch, self._pending = self._pending, []
        if not batch:
            return
        written, failure = self._tried(batch)
        for pending in batch[:written]:
            pending.written.set_result(None)
        if failure is not None:
            left = [one for one in batch[written:] if not self._append_from_reserve(one)]
            if left:
                self._fail(failure, left)

    def _fail(self, error: OSError, batch: list[_Pending]) -> None:
        if not self._failed:
            _log.error("%s: %s; the audit log stops until this is fixed", self._folder, error)
        self._failed = True
        self._report("audit")
        for pending in batch:
            # The process log is the only place left for it.
            _log.error("not in the audit log: %s", pending.line.decode().rstrip())
            pending.written.set_exception(error)

    def _tried(
        self, batch: list[_Pending], *, reserved: bool = False
    ) -> tuple[int, OSError | None]:
        """Write entries; returns how many were written completely, and why the others were not."""
        try:
            written = self._append(batch, reserved=reserved)
        except Exception as error:  # noqa: BLE001 - every request waits for its entry
            self._torn = True
            self._day = ""  # the file is opened again, in case it was removed
            return 0, error if isinstance(error, OSError) else OSError(None, repr(error))
        if written < len(batch):
            return written, OSError(errno.ENOSPC, "only a part was written; the disk may be full")
        self._failed = False
        return written, None

    def _append(self, batch: list[_Pending], *, reserved: bool) -> int:
        self._open_today()
        if not reserved:
            self._require_reserve()
        prefix = b"\n" if self._torn else b""
        lines = prefix + b"".join(one.line for one in batch)
        written = os.write(self._file, lines)
        if any(one.durable for one in batch):
            os.fdatasync(self._file)
        self._torn = written < len(lines)
        return _whole(batch, written - len(prefix))

    def _require_reserve(self) -> None:
        if not self._reserve.keep():  # the free space is reserved for entries that must not fail
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _append_from_reserve(self, pending: _Pending) -> bool:
        """Write one entry using the reserve, if it may."""
        while self._reserve.give(pending.share, _STEP):
            if self._tried([pending], reserved=True)[0]:
                pending.written.set_result(None)
                return True
        return False

    def _probe(self) -> None:
        # As long as a disk block: a shorter entry might fit into the file's last, half-used block.
        _, failure = self._tried([_Pending(b" " * 4095 + b"\n", durable=True, share="none")])
        if failure is not None:
            raise failure

    def _open_today(self) -> None:
        day = datetime.now(UTC).date().isoformat()
        if day == self._day:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{day}.ndjson"
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._day = file, day
        _end_line(file)
        sync_folder(self._folder)
        self._remove_old()

    def _remove_old(self) -> None:
        oldest = (datetime.now(UTC).date() - timedelta(days=self._keep_days)).isoformat()
        for day in days(self._folder):
            if day < oldest:
                (self._folder / f"{day}.ndjson").unlink(missing_ok=True)


def _whole(batch: list[_Pending], written: int) -> int:
    """Count the entries of a batch that are complete within its first ``written`` bytes."""
    count = 0
    for pending in batch:
        written -= len(pending.line)
        if written < 0:
            break
        count += 1
    return count


def _end_line(file: int) -> None:
    """End a line that a crash cut off."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
