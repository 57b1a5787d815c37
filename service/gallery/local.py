"""Galleries on this machine: SQLite is the truth, the searchable rows in memory are a view of it.

::

    <root>/lock                              held by the one process that serves this folder
    <root>/galleries/<name>/gallery.sqlite3  one gallery; deleting it deletes the folder
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from service.errors import Conflict, NotFound, ReidError, Unavailable, Unsupported, disk_error
from service.gallery import rules
from service.gallery.base import DEFAULT_OPTIONS, GalleryOptions, GalleryStats, SnapshotRecord
from service.gallery.database import GalleryDatabase, Header
from service.gallery.local_gallery import DATABASE_NAME, LocalGallery
from service.gallery.nearest import Gpu, resolve_device

_log = logging.getLogger(__name__)
_UNFINISHED = "."  # no gallery's name starts so: a folder half made or half removed
_PROBE_BYTES = 64 * 1024
# A gallery that could not be read is tried again after this, or this many times what it took.
_PAUSE_SECONDS, _PAUSE_SHARE = 3.0, 20.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a gallery is not served, and until when (monotonic seconds) that is taken for granted."""

    reason: str
    until: float


class LocalGalleryStore:
    """All galleries under one folder, served by one process.

    Args:
        root: the data folder; made if missing.
        device: where unfiltered queries run. ``auto`` takes a GPU if FAISS can use one, ``cuda``
            refuses to start without, ``cpu`` never does. Filtered queries run on the CPU always.

    Raises:
        Unavailable: the folder cannot be used, another process serves it, or there is no GPU.
        StorageFull: the disk is full.
    """

    def __init__(self, root: Path, *, device: Literal["auto", "cuda", "cpu"] = "auto") -> None:
        self._device = resolve_device(device)
        self._gpu = Gpu(required=device == "cuda") if self._device == "cuda" else None
        self._root = root
        self._folder = root / "galleries"
        self._galleries: dict[str, LocalGallery] = {}
        self._unusable: dict[str, _Failure] = {}
        self._lock = threading.Lock()  # creating and deleting galleries, one at a time
        with _disk_errors(root):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._held: IO[str] | None = _hold(root / "lock")
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> Literal["cuda", "cpu"]:
        """Where unfiltered queries run."""
        return self._device

    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> LocalGallery:
        """Create a gallery, durable on return; see :class:`GalleryStore`."""
        rules.check_name(name)
        rules.check_dimension(dimension)
        rules.check_options(options)
        header = Header(model_sha256, dimension, time.time(), options)
        with self._changing():
            if name in self._galleries or name in self._unusable:
                raise Conflict(f"gallery {name!r} exists")
            with _disk_errors(self._folder):
                self._clear_away(name)
                self._write_empty(name, header)
            gallery = LocalGallery(self._folder / name, self._gpu)
            self._galleries[name] = gallery
            return gallery

    def open(self, name: str) -> LocalGallery:
        """An existing gallery. Raises NotFound; Unavailable if its file could not be read."""
        gallery = self._galleries.get(name) or self._try_again(name)
        if gallery is None:
            raise self._absent(name)
        return gallery

    def stats(self) -> list[GalleryStats]:
        """Stats of every gallery, by name."""
        galleries = sorted(self._galleries.copy().items())
        return [gallery.stats() for _, gallery in galleries]

    def delete(self, name: str) -> int:
        """Delete a gallery and everything in it, durable on return; returns how many crops."""
        with self._changing():
            gallery = self._galleries.get(name)
            if gallery is None and name not in self._unusable:
                raise self._absent(name)
            doomed = self._unfinished_folder(name)
            with _disk_errors(self._folder):
                # One rename decides: before it the gallery is whole, after it gone. Emptying the
                # folder may be interrupted; the next start goes on with it.
                if gallery is None:
                    (self._folder / name).rename(doomed)
                    crops = 0
                else:
                    crops = gallery.retire(doomed)
                self._galleries.pop(name, None)
                self._unusable.pop(name, None)
                _sync_folder(self._folder)
            _remove(doomed)
            return crops

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """Snapshots of a gallery, oldest first. Raises NotFound."""
        self.open(name)
        return []

    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Raises Unsupported."""
        raise Unsupported(f"gallery {name!r}: snapshots are not there yet")

    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        """Raises NotFound."""
        raise NotFound(f"gallery {name!r} has no snapshot {snapshot_id!r}")

    def restore(self, name: str, snapshot_id: str, into: str | None) -> LocalGallery:  # noqa: ARG002
        """Raises NotFound."""
        raise NotFound(f"gallery {name!r} has no snapshot {snapshot_id!r}")

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Raises NotFound."""
        raise NotFound(f"gallery {name!r} has no snapshot {snapshot_id!r}")

    def writable(self) -> bool:
        """Whether a write would be accepted now: a small file can be written and synced."""
        probe = self._root / ".probe"
        try:
            with probe.open("wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return False
        finally:
            _unlink(probe)
        return self._held is not None

    def close(self) -> None:
        """Finish writes and release files; what follows answers that the store is closed."""
        with self._lock:
            for gallery in self._galleries.values():
                gallery.close()
            if self._held is not None:
                self._held.close()
                self._held = None

    def _load(self) -> None:
        with _disk_errors(self._folder):
            entries = sorted(self._folder.iterdir())
        for entry in entries:
            if entry.name.startswith(_UNFINISHED):
                _log.info("%s: removing what an interrupted change left", entry)
                _remove(entry)
            elif entry.is_dir():
                self._load_gallery(entry)

    def _load_gallery(self, folder: Path) -> None:
        start, before = time.monotonic(), self._unusable.get(folder.name)
        try:
            self._galleries[folder.name] = LocalGallery(folder, self._gpu)
            self._unusable.pop(folder.name, None)
        except ReidError as error:
            # The other galleries are sound; this one answers with the reason.
            if before is None or before.reason != str(error):
                _log.error("gallery %r is not served: %s", folder.name, error)
            pause = max(_PAUSE_SECONDS, _PAUSE_SHARE * (time.monotonic() - start))
            self._unusable[folder.name] = _Failure(str(error), time.monotonic() + pause)

    def _try_again(self, name: str) -> LocalGallery | None:
        """Load a gallery that could not be read before; its disk may have room again."""
        failure = self._unusable.get(name)
        if failure is None or time.monotonic() < failure.until:
            return None
        with self._changing():
            if self._unusable.get(name) is failure:  # nobody else has tried meanwhile
                self._load_gallery(self._folder / name)
            return self._galleries.get(name)

    def _absent(self, name: str) -> ReidError:
        if failure := self._unusable.get(name):
            return Unavailable(f"gallery {name!r} is not served: {failure.reason}")
        return NotFound(f"gallery {name[:80]!r} does not exist")

    def _write_empty(self, name: str, header: Header) -> None:
        unfinished = self._unfinished_folder(name)
        try:
            unfinished.mkdir()
            GalleryDatabase.create(unfinished / DATABASE_NAME, header)
            _sync_folder(unfinished)
            unfinished.rename(self._folder / name)
        except BaseException:
            _remove(unfinished)
            raise
        _sync_folder(self._folder)

    def _clear_away(self, name: str) -> None:
        """Remove what a creation left that failed after its rename, when the folder was synced."""
        with suppress(FileNotFoundError):
            doomed = (self._folder / name).rename(self._unfinished_folder(name))
            _remove(doomed)

    def _unfinished_folder(self, name: str) -> Path:
        return self._folder / f"{_UNFINISHED}{name}-{secrets.token_hex(4)}"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            if self._held is None:
                raise Unavailable("the gallery store is closed")
            yield


def _hold(path: Path) -> IO[str]:
    """Take the folder for this process; the system lets go of it even after ``kill -9``."""
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise Unavailable(
            f"{path.parent}: process {holder or 'unknown'} serves these galleries; two would lose "
            "sight of each other's changes"
        ) from None
    with suppress(OSError):  # only a hint for the message above; a full disk can still be read
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(entry: Path) -> None:
    try:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: left for the next start: %s", entry, error)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: not removed: %s", path, error)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(str(path), error) from error
