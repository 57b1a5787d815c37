"""The audit log: who searched or changed what, and when. Never whom.

A folder of text files, one a day (UTC), one JSON object a line, only ever appended to. What is in
it must survive the erasure of a person without telling of that person: no picture, embedding,
crop id, identity, path, query string or file name. The SHA-256 of a query's file stays: whoever
holds the file can see whether it was searched for, nobody else can tell anything from it.

A file beside them, ``reserve``, keeps room on the disk for entries of revocations and erasures.
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
from service.machine.durable import sync_folder
from service.machine.disk_reserve import FILE, Reserve, ReserveUse

FOLDER = "audit"
_LEAST_ROOM = 1 << 16  # bytes
_RESERVE = 1 << 20  # bytes: some 3,000 entries of erasures, and 1,000 of revocations
_STEP = 1 << 14  # bytes, given at a time
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pending:
    line: bytes
    durable: bool
    share: ReserveUse
    written: Future[None] = field(default_factory=Future)


class AuditLog:
    """Appends entries from one thread, several at a time where they wait, and reads them back.

    Args:
        folder: holds the files; made with the first entry.
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

    def write(self, entry: AuditEntry, *, durable: bool, share: ReserveUse = "none") -> Future[None]:
        """Append an entry.

        Args:
            entry: what happened; what breaks the rule of its field is left out.
            durable: on the disk, not only with the system, when the future is done.
            share: how much of the reserve it may use on a full disk.

        Returns:
            Done once it is written; fails with ``OSError`` where it cannot be.
        """
        pending = _Pending(line_of(entry), durable, share)
        with self._lock:
            self._pending.append(pending)
        self._writer.submit(self._flush)
        return pending.written

    def require_room(self, share: ReserveUse = "none") -> None:
        """Make sure, before something is done, that it can be logged.

        Args:
            share: how much of the reserve its entry may use. What may use any is done on a full
                disk, too; in the worst case its entry is in the process log alone.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the folder takes no writes for another reason.
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
        """Write what is pending, then release the file."""
        self._writer.shutdown()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _require_room(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self._folder)
            if disk.f_flag & os.ST_RDONLY:
                raise Unavailable("the audit log takes no entry: the file system is read-only", 10)
            if disk.f_bavail * disk.f_frsize < _LEAST_ROOM or not self._reserve.keep():
                raise StorageFull("the audit log takes no entry: the disk is full")
            if self._failed:
                self._writer.submit(self._probe).result()
        except OSError as error:
            raise disk_error("the audit log takes no entry", error) from error

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
            _log.error("%s: %s; nothing more is logged until it is mended", self._folder, error)
        self._failed = True
        self._report("audit")
        for pending in batch:
            # The process log is all that is left to keep it.
            _log.error("not in the audit log: %s", pending.line.decode().rstrip())
            pending.written.set_exception(error)

    def _tried(
        self, batch: list[_Pending], *, reserved: bool = False
    ) -> tuple[int, OSError | None]:
        """Write entries; returns how many were written whole, and what kept the others out."""
        try:
            written = self._append(batch, reserved=reserved)
        except Exception as error:  # noqa: BLE001 - every request waits for its entry
            self._torn = True
            self._day = ""  # opened anew, in case the file has gone
            return 0, error if isinstance(error, OSError) else OSError(None, repr(error))
        if written < len(batch):
            return written, OSError(errno.ENOSPC, "only a part was written: is the disk full?")
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
        if not self._reserve.keep():  # what room there is was given for entries that must not fail
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _append_from_reserve(self, pending: _Pending) -> bool:
        """Write one entry with room that was kept for it, if it may use any."""
        while self._reserve.give(pending.share, _STEP):
            if self._tried([pending], reserved=True)[0]:
                pending.written.set_result(None)
                return True
        return False

    def _probe(self) -> None:
        # As long as a block, so that the slack of the file's last one proves nothing.
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
    """How many entries of a batch lie within its first bytes."""
    count = 0
    for pending in batch:
        written -= len(pending.line)
        if written < 0:
            break
        count += 1
    return count


def _end_line(file: int) -> None:
    """Let a line that a crash cut off end here."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
