"""Reads the audit log page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service.access.entry import MAX_LINE, AuditEntry, entry_of
from service.errors import InvalidInput, Unavailable

_SCANNED_A_PAGE = 1 << 26  # bytes; beyond it, a page is returned short, with a cursor
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CURSOR = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of the log, oldest first.

    Attributes:
        entries: the entries that passed the filter.
        cursor: requests the next page; None at the end.
    """

    entries: list[AuditEntry]
    cursor: str | None


def read_page(
    folder: Path, since: float | None, until: float | None, limit: int, cursor: str | None
) -> AuditPage:
    """Read entries in the order they were written.

    Args:
        folder: the log's folder.
        since: entries of this time or later, seconds since 1970-01-01 UTC.
        until: entries before this time.
        limit: most entries, >= 1.
        cursor: from the previous page.

    Returns:
        A page. If few entries pass the filter, it may be short or even empty but have a cursor.

    Raises:
        InvalidInput: the cursor is not valid.
        Unavailable: a file cannot be read.
    """
    first, offset = _parse_cursor(cursor)
    entries: list[AuditEntry] = []
    scanned = 0
    try:
        for day in _between(folder, max(first, _day_before(since)), until):
            start = offset if day == first else 0
            for entry, end in _entries(folder / f"{day}.ndjson", start):
                if len(entries) == limit or scanned > _SCANNED_A_PAGE:
                    return AuditPage(entries, f"{day}.{start}")
                scanned += end - start
                start = end
                if entry is not None and _within(entry.time, since, until):
                    entries.append(entry)
    except OSError as error:
        raise Unavailable(f"the audit log cannot be read: {error.strerror}") from error
    return AuditPage(entries, None)


def days(folder: Path) -> list[str]:
    """Days that have a file, in order, such as ``2026-11-21``."""
    return sorted(path.stem for path in folder.glob("*.ndjson") if _DAY.fullmatch(path.stem))


def _between(folder: Path, first: str, until: float | None) -> list[str]:
    last = "9" if until is None else _date(until + 86_400)
    return [day for day in days(folder) if first <= day <= last]


def _entries(path: Path, offset: int) -> Iterator[tuple[AuditEntry | None, int]]:
    """Entries of a file, and where each ends; None for a line that is too long or not an entry."""
    with path.open("rb") as file:
        file.seek(offset)
        whole = True  # whether the previous piece ended a line
        while piece := file.readline(MAX_LINE):
            begins, whole = whole, piece.endswith(b"\n")
            offset += len(piece)
            if not whole and len(piece) < MAX_LINE:
                return  # still being written, or cut off by a crash
            yield entry_of(piece) if begins and whole else None, offset


def _parse_cursor(cursor: str | None) -> tuple[str, int]:
    if cursor is None:
        return "", 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidInput(f"cursor {cursor[:80]!r} was not issued by this service")
    return found[1], int(found[2])


def _day_before(moment: float | None) -> str:
    # Around midnight, an entry may be in the next day's file. One day on both sides also covers
    # changes of the clock.
    return "" if moment is None else _date(moment - 86_400)


def _date(moment: float) -> str:
    bounded = min(max(moment, 0.0), 253_402_300_799.0)  # the years that datetime supports
    return datetime.fromtimestamp(bounded, UTC).date().isoformat()


def _within(moment: float, since: float | None, until: float | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)
