"""Snapshots: copies of galleries at one moment, each in a file of its own.

A snapshot is taken with SQLite's online backup, so it shows one moment and writes continue
meanwhile. Its table ``snapshot`` distinguishes it from any other file. A snapshot in progress
already counts: it contains crops that are erased after its moment.
"""

from __future__ import annotations

import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from service.errors import Conflict, InvalidInput, NotFound, Unavailable
from service.gallery import rules
from service.gallery.base import SnapshotRecord
from service.gallery.disk import folders, segments
from service.gallery.disk.conditions import as_json
from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.header import Header, read_header, require_format
from service.gallery.disk.migration import ids_before_migration, migrate
from service.gallery.disk.schema import (
    FORMAT,
    ROWS_A_SEGMENT,
    TRACKLESS_FORMAT,
    UNMIGRATED_FORMAT,
)
from service.gallery.disk.snapshot_in_progress import SnapshotInProgress
from service.machine.durable import UNFINISHED, disk_errors, sync_folder
from service.machine.sqlite import answering, connect

_SNAPSHOT_ID = re.compile(r"\d{8}T\d{9}-[0-9a-f]{4}")
_SUFFIX = ".sqlite3"
_ROWS_A_CHECK = 64 * ROWS_A_SEGMENT
_MARK = """
CREATE TABLE snapshot (gallery TEXT NOT NULL, crops INTEGER NOT NULL, created REAL NOT NULL) STRICT
"""


class SnapshotShelf:
    """All snapshots of one data folder.

    Args:
        root: ``<data>/snapshots``; created with the first snapshot.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._in_progress: dict[str, list[SnapshotInProgress]] = {}
        self._lock = threading.Lock()  # guards the dict, and is never held during a copy

    @contextmanager
    def begin(self, name: str, database: GalleryDatabase) -> Iterator[SnapshotInProgress]:
        """Begin a snapshot of this moment; until the block ends, :meth:`holding` reports it.

        Args:
            name: the gallery; the caller must hold its lock when this begins, not when it ends.
            database: its database.

        Raises:
            Unavailable: it cannot be read.
        """
        now = time.time()
        with answering(database.path):
            snapshot = SnapshotInProgress(_new_id(now), now, database.path)
        with self._lock:
            self._in_progress.setdefault(name, []).append(snapshot)
        try:
            yield snapshot
        finally:
            with self._lock:
                self._in_progress[name].remove(snapshot)
                if not self._in_progress[name]:
                    del self._in_progress[name]
            snapshot.close()

    def keep(
        self, name: str, snapshot: SnapshotInProgress, lock: AbstractContextManager[object]
    ) -> SnapshotRecord:
        """Copy the database of a snapshot that was begun, durable on return.

        Args:
            name: the gallery.
            snapshot: the snapshot.
            lock: the gallery's lock; taken for the last step, so that deleting the gallery either
                finds the snapshot or abandons it.

        Returns:
            The snapshot.

        Raises:
            NotFound: the gallery was deleted meanwhile; no snapshot was kept.
            StorageFull: there is no room for the copy.
            Unavailable: it cannot be read or written.
        """
        path = self._path(name, snapshot.snapshot_id)
        unfinished = path.with_name(path.name + UNFINISHED)
        with disk_errors(path), answering(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _copy(snapshot, unfinished, name)
                with lock:
                    snapshot.require_gallery(name)
                    folders.finish(unfinished, path)
                for folder in (self._root, self._root.parent):
                    sync_folder(folder)
            except BaseException:
                folders.remove_database(unfinished)
                folders.remove(path)  # in case it has its name but the disk did not confirm it
                raise
        return self._record(name, path)

    def abandon(self, name: str) -> None:
        """Discard a gallery's snapshots in progress, because the gallery is being deleted."""
        for snapshot in self._in_progress_of(name):
            snapshot.abandoned = True

    def records(self, name: str) -> list[SnapshotRecord]:
        """Snapshots of a gallery, oldest first; other files are ignored."""
        found = []
        for path in self._files(name):
            try:
                found.append(self._record(name, path))
            except (Unavailable, Conflict):
                continue
        return found

    def file(self, name: str, snapshot_id: str) -> Path:
        """The file of a snapshot. Raises NotFound."""
        try:
            rules.check_name(name)
            exists = _SNAPSHOT_ID.fullmatch(snapshot_id) and self._path(name, snapshot_id).is_file()
        except InvalidInput:
            exists = False
        if not exists:
            raise NotFound(f"gallery {name[:80]!r} has no snapshot {snapshot_id[:80]!r}")
        return self._path(name, snapshot_id)

    def delete(self, name: str, snapshot_id: str) -> None:
        """Delete a snapshot, durable on return. Raises NotFound."""
        path = self.file(name, snapshot_id)
        with disk_errors(path):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def holding(self, name: str, crop_ids: Sequence[str]) -> tuple[str, ...]:
        """Ids of a gallery's snapshots that hold one of these crops, or may hold it."""
        if not crop_ids:
            return ()
        # Snapshots in progress are checked first, since one may become a file meanwhile.
        unfinished = {one.snapshot_id for one in self._in_progress_of(name) if one.holds(crop_ids)}
        there = {path.stem for path in self._files(name) if _holds(path, crop_ids)}
        return tuple(sorted(unfinished | there))

    def verify(self, name: str, snapshot_id: str) -> Header:
        """Read a complete snapshot and check it.

        Returns:
            Its header.

        Raises:
            NotFound: there is no such snapshot.
            Conflict: it is damaged, or is not a snapshot of this gallery.
        """
        path = self.file(name, snapshot_id)
        with _refused(path), closing(connect(path, "immutable")) as reader:
            _mark_of(reader, name)
            (verdict,) = reader.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise Conflict(f"snapshot {snapshot_id} is damaged: {verdict}")
            require_format(path, reader, (UNMIGRATED_FORMAT, TRACKLESS_FORMAT, FORMAT))
            header = read_header(path, reader)
            damaged = _damaged_crop(reader, header.dimension)
        if damaged is not None:
            raise Conflict(
                f"snapshot {snapshot_id} is damaged: the embedding of crop {damaged!r} was altered"
            )
        return header

    def copy(self, name: str, snapshot_id: str, to: Path) -> None:
        """Copy a snapshot into a gallery's database, migrating it if an older release took it.

        Args:
            name: the gallery it was taken of.
            snapshot_id: the snapshot.
            to: the new file; must not exist.

        Raises:
            NotFound: there is no such snapshot.
            StorageFull: there is no room for the copy.
        """
        with disk_errors(to), answering(to):
            shutil.copyfile(self.file(name, snapshot_id), to)
            with closing(connect(to, "rw")) as connection:
                connection.execute("DROP TABLE snapshot")
            migrate(to)

    def remove_unfinished(self) -> None:
        """Remove snapshots that were in progress when the service ended."""
        for path in self._root.glob(f"*/*{UNFINISHED}*"):
            folders.remove(path)

    def _in_progress_of(self, name: str) -> list[SnapshotInProgress]:
        with self._lock:
            return list(self._in_progress.get(name, ()))

    def _path(self, name: str, snapshot_id: str) -> Path:
        return self._root / name / f"{snapshot_id}{_SUFFIX}"

    def _files(self, name: str) -> list[Path]:
        try:
            rules.check_name(name)
        except InvalidInput:
            return []
        found = (self._root / name).glob(f"*{_SUFFIX}")
        return sorted(path for path in found if _SNAPSHOT_ID.fullmatch(path.stem))

    def _record(self, name: str, path: Path) -> SnapshotRecord:
        with _refused(path), closing(connect(path, "immutable")) as reader:
            crops, created = _mark_of(reader, name)
            header = read_header(path, reader)
        return SnapshotRecord(
            snapshot_id=path.stem,
            gallery=name,
            model_sha256=header.model_sha256,
            crops=crops,
            bytes=path.stat().st_size,
            created=created,
        )


def _copy(snapshot: SnapshotInProgress, target: Path, name: str) -> None:
    with closing(sqlite3.connect(target)) as copy:
        snapshot.copy_to(copy)
        # A single file without a log can be read in place without a lock.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute(_MARK)
        mark = (name, snapshot.created)
        copy.execute("INSERT INTO snapshot SELECT ?, count(*), ? FROM crops", mark)
        copy.commit()


def _new_id(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}-{secrets.token_hex(2)}"


def _mark_of(reader: sqlite3.Connection, name: str) -> tuple[int, float]:
    gallery, crops, created = reader.execute(
        "SELECT gallery, crops, created FROM snapshot"
    ).fetchone() or (None, 0, 0.0)
    if gallery != name:
        raise Conflict(f"this is a snapshot of gallery {gallery!r}, not of {name!r}")
    return int(crops), float(created)


def _holds(path: Path, crop_ids: Sequence[str]) -> bool:
    statement = "SELECT 1 FROM crops WHERE crop_id IN (SELECT value FROM json_each(?)) LIMIT 1"
    try:
        listed = as_json([*crop_ids, *ids_before_migration(path, crop_ids)])
        with closing(connect(path, "immutable")) as reader:
            return reader.execute(statement, [listed]).fetchone() is not None
    except (sqlite3.Error, OSError):
        return path.exists()  # an unreadable snapshot may hold the crop


def _damaged_crop(reader: sqlite3.Connection, dimension: int) -> str | None:
    """The first crop whose embedding changed since it was written, if any."""
    cursor = reader.execute("SELECT id, crc32, crop_id FROM crops ORDER BY id")
    while rows := cursor.fetchmany(_ROWS_A_CHECK):
        embeddings = np.empty((len(rows), dimension), np.float32)
        segments.read_rows(reader, np.array([row[0] for row in rows], np.int64), embeddings)
        sound = segments.sound_rows(embeddings, [row[1] for row in rows])
        if not sound.all():
            return str(rows[int(np.argmin(sound))][2])
    return None


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Conflict(
            f"{path.name} is damaged or is not a snapshot of this service: {error}"
        ) from error
    except Unavailable as error:
        raise Conflict(str(error)) from error
