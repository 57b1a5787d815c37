"""The audit log: who searched or changed what, and when. Never whom.

A folder of text files, one a day (UTC), one JSON object a line, only ever appended to. What is in
it must survive the erasure of a person without telling of that person: no picture, embedding,
crop id, identity, path, query string or file name. The SHA-256 of a query's file stays: whoever
holds the file can see whether it was searched for, nobody else can tell anything from it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.background import Report
from service.disk import sync_folder
from service.errors import InvalidInput, StorageFull, Unavailable, disk_error

FOLDER = "audit"
_LEAST_ROOM = 1 << 16  # bytes
_SCANNED_A_PAGE = 1 << 26  # bytes; a page may come back short, with a cursor
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{1,18})")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One request, or one command.

    Attributes:
        time: when it was answered, seconds since 1970-01-01 UTC.
        method: of HTTP, or ``CLI``.
        route: its template, or the command: never a path, which may name a crop.
        request_id: as in the answer and the process log; empty for a command.
        key_id: the key that was sent and is known; None without one.
        gallery: which one, where it was one.
        status: of HTTP; 200 for a command that succeeded.
        crops: how many were returned or changed, where the route counts them.
        queries: SHA-256 of each query's file, in hexadecimal.
        refused: why a key was refused.
        address: of the client whose key is none, for refused keys only.
    """

    time: float
    method: str
    route: str
    request_id: str = ""
    key_id: str | None = None
    gallery: str | None = None
    status: int = 200
    crops: int | None = None
    queries: tuple[str, ...] = ()
    refused: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Part of the log, the oldest first.

    Attributes:
        entries: what passed the filter.
        cursor: asks for what follows; None at the end.
    """

    entries: list[AuditEntry]
    cursor: str | None


@dataclass(slots=True)
class _Pending:
    line: bytes
    durable: bool
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
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._writer = ThreadPoolExecutor(1, "audit")
        self._day = ""
        self._file = -1
        self._failed = False

    def write(self, entry: AuditEntry, *, durable: bool) -> Future[None]:
        """Append an entry.

        Args:
            entry: what happened.
            durable: on the disk, not only with the system, when the future is done.

        Returns:
            Done once it is written; fails with ``OSError`` where it cannot be.
        """
        told = {name: value for name, value in asdict(entry).items() if value not in ((), None)}
        pending = _Pending(json.dumps(told).encode() + b"\n", durable)
        with self._lock:
            self._pending.append(pending)
        self._writer.submit(self._flush)
        return pending.written

    def require_room(self) -> None:
        """Make sure, before a change is made, that it can be logged.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the folder takes no writes for another reason.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            disk = os.statvfs(self._folder)
            if self._failed:
                self._writer.submit(self._probe).result()
        except OSError as error:
            raise disk_error("the audit log takes no entry", error) from error
        if disk.f_flag & os.ST_RDONLY:
            raise Unavailable("the audit log takes no entry: the file system is read-only", 10)
        if disk.f_bavail * disk.f_frsize < _LEAST_ROOM:
            raise StorageFull("the audit log takes no entry: the disk is full; nothing was changed")

    def page(
        self, since: float | None, until: float | None, limit: int, cursor: str | None
    ) -> AuditPage:
        """Read entries in the order they were written.

        Args:
            since: entries of this time or later, seconds since 1970-01-01 UTC.
            until: entries before this time.
            limit: most entries, >= 1.
            cursor: where an earlier page ended.

        Returns:
            A page; it may be short, and even empty, with a cursor, where few entries pass.

        Raises:
            InvalidInput: the cursor is none of ours.
            Unavailable: a file cannot be read.
        """
        first, offset = _parse_cursor(cursor)
        entries: list[AuditEntry] = []
        scanned = 0
        try:
            for day in self._days(max(first, _day_before(since)), until):
                start = offset if day == first else 0
                for entry, end in _entries(self._folder / f"{day}.ndjson", start):
                    if len(entries) == limit or scanned > _SCANNED_A_PAGE:
                        return AuditPage(entries, f"{day}.{start}")
                    scanned += end - start
                    start = end
                    if entry is not None and _within(entry.time, since, until):
                        entries.append(entry)
        except OSError as error:
            raise Unavailable(f"the audit log cannot be read: {error.strerror}") from error
        return AuditPage(entries, None)

    def close(self) -> None:
        """Write what is pending, then release the file."""
        self._writer.shutdown()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        with self._lock:
            batch, self._pending = self._pending, []
        if not batch:
            return
        try:
            self._append(b"".join(p.line for p in batch), durable=any(p.durable for p in batch))
        except Exception as error:  # noqa: BLE001 - every request waits for its entry
            self._fail(error if isinstance(error, OSError) else OSError(None, repr(error)), batch)
        else:
            for pending in batch:
                pending.written.set_result(None)

    def _fail(self, error: OSError, batch: list[_Pending]) -> None:
        if not self._failed:
            _log.error("%s: %s; changes are refused until it is mended", self._folder, error)
        self._failed = True
        self._report("audit")
        self._day = ""  # opened anew, in case the file has gone
        for pending in batch:
            # The process log is all that is left to keep it.
            _log.error("not in the audit log: %s", pending.line.decode().rstrip())
            pending.written.set_exception(error)

    def _append(self, lines: bytes, *, durable: bool) -> None:
        self._open_today()
        if self._failed:
            lines = b"\n" + lines  # whatever the failed write left ends here
        written = os.write(self._file, lines)
        if written < len(lines):
            raise OSError(None, "only a part was written: is the disk full?")
        if durable:
            os.fdatasync(self._file)
        self._failed = False

    def _probe(self) -> None:
        # As long as a block, so that the slack of the file's last one proves nothing.
        self._append(b" " * 4095 + b"\n", durable=True)

    def _open_today(self) -> None:
        day = datetime.now(UTC).date().isoformat()
        if day == self._day:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{day}.ndjson"
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._day = file, day
        _end_line(file)
        sync_folder(self._folder)
        self._remove_old()

    def _remove_old(self) -> None:
        oldest = (datetime.now(UTC).date() - timedelta(days=self._keep_days)).isoformat()
        for day in self._days("", None):
            if day < oldest:
                (self._folder / f"{day}.ndjson").unlink(missing_ok=True)

    def _days(self, first: str, until: float | None) -> list[str]:
        days = sorted(path.stem for path in self._folder.glob("*.ndjson"))
        last = "9" if until is None else _date(until + 86_400)
        return [day for day in days if _DAY.fullmatch(day) and first <= day <= last]


def _entries(path: Path, offset: int) -> Iterator[tuple[AuditEntry | None, int]]:
    """Entries of a file and where each ends; None for a line that is none."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # being written, or cut off by a crash
            offset += len(line)
            yield _parsed(line), offset


def _parsed(line: bytes) -> AuditEntry | None:
    try:
        fields = json.loads(line)
        fields["queries"] = tuple(fields.get("queries", ()))
        return AuditEntry(**fields)
    except (ValueError, TypeError, AttributeError):
        return None


def _end_line(file: int) -> None:
    """Let a line that a crash cut off end here."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


def _parse_cursor(cursor: str | None) -> tuple[str, int]:
    if cursor is None:
        return "", 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidInput(f"cursor {cursor[:80]!r}: is none that this service gave")
    return found[1], int(found[2])


def _day_before(moment: float | None) -> str:
    # Around midnight an entry may lie in the next day's file; a day's margin on both sides also
    # forgives a clock that was set.
    return "" if moment is None else _date(moment - 86_400)


def _date(moment: float) -> str:
    bounded = min(max(moment, 0.0), 253_402_300_799.0)  # the years datetime knows
    return datetime.fromtimestamp(bounded, UTC).date().isoformat()


def _within(moment: float, since: float | None, until: float | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)
