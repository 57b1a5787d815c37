"""A snapshot in progress: it holds the gallery as it was when the snapshot began."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection
from contextlib import ExitStack, closing
from pathlib import Path

from service.errors import NotFound
from service.gallery.disk.conditions import as_json
from service.machine.sqlite import connect

_HOLDS = "SELECT 1 FROM crops WHERE crop_id IN (SELECT value FROM json_each(?)) LIMIT 1"


class SnapshotInProgress:
    """Two connections that see one database at the same moment, one to copy it, one to query it.

    Args:
        snapshot_id: the id the snapshot will have.
        created: the moment, seconds since 1970-01-01 UTC.
        source: the database; the caller keeps others from writing until this returns.

    Attributes:
        snapshot_id: the id the snapshot will have.
        created: the moment.
        abandoned: whether the gallery was deleted meanwhile, so that the copy is discarded.

    Raises:
        sqlite3.Error: the database cannot be read.
    """

    def __init__(self, snapshot_id: str, created: float, source: Path) -> None:
        self.snapshot_id = snapshot_id
        self.created = created
        self.abandoned = False
        self._asking = threading.Lock()
        with ExitStack() as opened:
            self._copied = _reader_of_now(opened, source)
            self._asked = _reader_of_now(opened, source)
            self._readers = opened.pop_all()

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the database as it was at that moment."""
        self._copied.backup(target)

    def holds(self, crop_ids: Collection[str]) -> bool:
        """Whether the snapshot will hold one of these crops; True if that is not known."""
        with self._asking:
            try:
                return self._asked.execute(_HOLDS, [as_json(crop_ids)]).fetchone() is not None
            except sqlite3.Error:
                return True

    def require_gallery(self, name: str) -> None:
        """Raise NotFound if the gallery was deleted meanwhile."""
        if self.abandoned:
            raise NotFound(f"gallery {name!r} was deleted while it was copied")

    def close(self) -> None:
        """Close the connections, so that the write-ahead log can be emptied."""
        with self._asking:
            self._readers.close()


def _reader_of_now(opened: ExitStack, source: Path) -> sqlite3.Connection:
    reader = opened.enter_context(closing(connect(source, "ro")))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM gallery").fetchone()  # a read transaction starts here
    return reader
