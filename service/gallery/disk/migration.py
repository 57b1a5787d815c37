"""One-time migration of what older releases stored: names and times to the present rules, tables.

The format number in the file records that it is done. It changes in the same transaction as the
rows, so a database is migrated completely or not at all, whatever interrupts it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from service.gallery.disk.schema import FORMAT, TRACKLESS_FORMAT, UNMIGRATED_FORMAT
from service.machine.sqlite import answering, connect
from service.values.names import fitting_id, fitting_name, marked_id
from service.values.timestamps import corrected as fitting_time

_log = logging.getLogger(__name__)

# Every id that is not in its normal form or cannot be addressed, and some that need no change.
_SUSPECT = r"""
crop_id GLOB '*[^!-~]*' OR crop_id GLOB '[./]*' OR crop_id GLOB '*/' OR length(crop_id) > 200
    OR instr(crop_id, '//') OR instr(crop_id, '/.') OR instr(crop_id, '\.')
"""
_SUSPECTS = f"SELECT crop_id FROM crops WHERE {_SUSPECT} ORDER BY crop_id"  # noqa: S608 - fixed texts
_ROWS = "SELECT id, crop_id, identity, camera, timestamp FROM crops"
_UPDATE = "UPDATE crops SET crop_id = ?, identity = ?, camera = ?, timestamp = ? WHERE id = ?"

_USER_VERSION_OFFSET = 60  # https://sqlite.org/fileformat2.html#user_version_number
_SNAPSHOTS_REMEMBERED = 16  # each deletion looks into all of them

_Fields = tuple[str, str | None, str | None, float | None]


@dataclass(slots=True)
class Migrated:
    """Number of crops whose id, identity, camera or time was changed."""

    ids: int = 0
    identities: int = 0
    cameras: int = 0
    times: int = 0

    def count(self, before: _Fields, after: _Fields) -> None:
        """Count one crop."""
        changed = [old != new for old, new in zip(before, after, strict=True)]
        self.ids += changed[0]
        self.identities += changed[1]
        self.cameras += changed[2]
        self.times += changed[3]


def migrate(path: Path) -> None:
    """Migrate a database to the present rules and tables, unless that is done.

    No crop loses its picture or its embedding. Names with the same normal form become one name. An
    id that cannot be part of a URL, or whose normal form belongs to another crop, is replaced.

    Args:
        path: a gallery's database that nobody else uses. A database of another format than the
            two previous ones is left as it is.

    Raises:
        StorageFull: there is no room for the changes; nothing changed.
        Unavailable: it cannot be read or written; nothing changed.
    """
    if _is_migrated(path):
        return
    with answering(path):
        # A connection without write access would leave its write-ahead log behind.
        with closing(connect(path, "rw")) as reader:
            found = format_of(reader)
        if found not in {UNMIGRATED_FORMAT, TRACKLESS_FORMAT}:
            return
        with closing(connect(path, "rw")) as writer:
            migrated = Migrated()
            if found == UNMIGRATED_FORMAT:
                migrated = migrate_within(writer)
            else:
                _add_tracks_within(writer)
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _log.info(
        "%s: migrated: %d ids, %d identities, %d cameras and %d times changed",
        *(path, migrated.ids, migrated.identities, migrated.cameras, migrated.times),
    )


def _is_migrated(path: Path) -> bool:
    """Whether the file's header has the present format, which never decreases.

    The header is read without SQLite, because opening and closing a database folds in its
    write-ahead log, and a start must not write if nothing has to be migrated. The log may hold a
    newer header, so False does not prove that the database has to be migrated.
    """
    try:
        with path.open("rb") as file:
            file.seek(_USER_VERSION_OFFSET)
            return int.from_bytes(file.read(4), "big") == FORMAT
    except OSError:
        return False  # opening the file will report the error


def migrate_within(writer: sqlite3.Connection) -> Migrated:
    """Migrate names and times, and add the column of tracks, in one transaction.

    Args:
        writer: a connection that is not in a transaction.

    Returns:
        Number of changes.

    Raises:
        sqlite3.Error: the file cannot be written; nothing changed.
    """
    with _transaction(writer):
        _add_tracks(writer)
        migrated, changes = Migrated(), []
        for place, before, after in _changes(writer):
            migrated.count(before, after)
            changes.append((*after, place))
        writer.executemany(_UPDATE, changes)
        if changes:  # the file may keep old copies of the rows
            writer.execute("UPDATE gallery SET unclean = 1")
        writer.execute(f"PRAGMA user_version = {FORMAT}")
    return migrated


def _add_tracks_within(writer: sqlite3.Connection) -> None:
    with _transaction(writer):
        _add_tracks(writer)
        writer.execute(f"PRAGMA user_version = {FORMAT}")


def _add_tracks(writer: sqlite3.Connection) -> None:
    """Add the column of tracks, unless it is there."""
    columns = writer.execute("SELECT name FROM pragma_table_info('crops')").fetchall()
    if ("track",) not in columns:
        writer.execute("ALTER TABLE crops ADD COLUMN track TEXT")


def ids_before_migration(snapshot: Path, crop_ids: Collection[str]) -> list[str]:
    """Find the ids that crops have in a snapshot that an older release may have taken.

    Args:
        snapshot: the file; nobody writes to it.
        crop_ids: their present ids.

    Returns:
        Different ids under which the snapshot may hold some of these crops.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    wanted = frozenset(crop_ids)
    return [
        before
        for before, after in _new_ids_of(snapshot, snapshot.stat().st_mtime_ns).items()
        # In the gallery, more crops than in the snapshot may have shared a normal form.
        if after in wanted or marked_id(before) in wanted
    ]


def format_of(reader: sqlite3.Connection) -> int:
    """The format of a database.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    return int(reader.execute("PRAGMA user_version").fetchone()[0])


def _changes(reader: sqlite3.Connection) -> Iterator[tuple[int, _Fields, _Fields]]:
    """Each crop that changes: its place, its present fields, and its new fields."""
    new_ids = _new_ids(reader)
    name = lru_cache(maxsize=100_000)(fitting_name)
    for place, crop_id, identity, camera, timestamp in reader.execute(_ROWS):
        before = (crop_id, identity, camera, timestamp)
        after = (
            new_ids.get(crop_id, crop_id),
            None if identity is None else name(identity),
            None if camera is None else name(camera),
            None if timestamp is None else fitting_time(timestamp),
        )
        if after != before:
            yield place, before, after


@lru_cache(maxsize=_SNAPSHOTS_REMEMBERED)
def _new_ids_of(snapshot: Path, _changed: int) -> dict[str, str]:
    with closing(connect(snapshot, "immutable")) as reader:
        return _new_ids(reader) if format_of(reader) == UNMIGRATED_FORMAT else {}


def _new_ids(reader: sqlite3.Connection) -> dict[str, str]:
    """The new ids of the crops that need one, by their old ids."""
    new: dict[str, str] = {}
    taken: set[str] = set()
    for (crop_id,) in reader.execute(_SUSPECTS).fetchall():
        if (fitting := fitting_id(crop_id)) == crop_id:
            continue
        if fitting in taken or _is_there(reader, fitting):
            fitting = marked_id(crop_id)
        while fitting in taken or _is_there(reader, fitting):
            fitting = marked_id(fitting)
        taken.add(fitting)
        new[crop_id] = fitting
    return new


def _is_there(reader: sqlite3.Connection, crop_id: str) -> bool:
    statement = "SELECT 1 FROM crops WHERE crop_id = ?"
    return reader.execute(statement, [crop_id]).fetchone() is not None


@contextmanager
def _transaction(writer: sqlite3.Connection) -> Iterator[None]:
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        raise
