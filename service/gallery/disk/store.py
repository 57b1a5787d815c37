"""Galleries on this machine: SQLite is the truth, the searchable rows in memory are a view of it.

::

    <root>/lock                              held by the one process that serves this folder
    <root>/reserve                           room for erasing crops and revoking keys on a full disk
    <root>/galleries/<name>/                 one gallery (see service.gallery.disk.folders)
    <root>/snapshots/<name>/<id>.sqlite3     galleries as they were
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

from service.errors import Conflict, NotFound, ReidError, Unavailable
from service.gallery import rules
from service.gallery.base import (
    DEFAULT_OPTIONS,
    Gallery,
    GalleryOptions,
    GalleryStats,
    SnapshotRecord,
)
from service.gallery.disk import folders
from service.gallery.disk.database import GalleryDatabase, Header
from service.gallery.disk.gallery import LocalGallery
from service.gallery.disk.name_locks import NameLocks
from service.gallery.disk.snapshots import SnapshotShelf
from service.gallery.disk.versions import Versions, bring_back_pictures
from service.gallery.rows.nearest import Gpu, resolve_device
from service.machine.disk_reserve import DATA_RESERVE, Reserve
from service.machine.disk_reserve import FILE as RESERVE_FILE
from service.machine.durable import disk_errors, sync_folder

_log = logging.getLogger(__name__)
_UNFINISHED = "."  # no gallery's name starts so: a folder half made or half removed
_PROBE_BYTES = 64 * 1024
_WORTH_FREEZING = 10_000
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
        self._shelf = SnapshotShelf(root / "snapshots")
        self._galleries: dict[str, LocalGallery] = {}
        self._unusable: dict[str, _Failure] = {}
        self._locks = NameLocks()
        self._lock = threading.Lock()  # held while the store is closed, never while one waits
        with disk_errors(root):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._held: IO[str] | None = _hold(root / "lock")
        self._reserve = Reserve(root / RESERVE_FILE, DATA_RESERVE)
        if not self._reserve.keep():
            _log.warning("%s: the disk is full; no room is kept for erasing crops", root)
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
        """Create a gallery, durable on return; see :class:`service.gallery.base.GalleryStore`."""
        rules.check_name(name)
        rules.check_model(model_sha256)
        rules.check_dimension(dimension)
        rules.check_options(options)
        header = Header(model_sha256, dimension, time.time(), options)
        with self._alone_with(name):
            return self._make(name, model_sha256, lambda path: GalleryDatabase.create(path, header))

    def open(self, name: str) -> LocalGallery:
        """An existing gallery. Raises NotFound; Unavailable if its file could not be read."""
        gallery = self._galleries.get(name) or self._try_again(name)
        if gallery is None:
            raise self._absent(name)
        return gallery

    @contextmanager
    def changing(self, name: str) -> Iterator[LocalGallery]:
        """The gallery as it is served now, with its lock held. Raises as :meth:`open`."""
        with self._alone_with(name):
            yield self.open(name)

    def stats(self) -> list[GalleryStats]:
        """Stats of every gallery, by name."""
        found: list[GalleryStats] = []
        for _, gallery in sorted(self._galleries.copy().items()):
            with suppress(NotFound):  # deleted meanwhile
                found.append(gallery.stats())
        return found

    def delete(self, name: str) -> int:
        """Delete a gallery and everything in it, durable on return; returns how many crops.

        Its snapshots stay.
        """
        with self._alone_with(name):
            gallery = self._galleries.get(name)
            if gallery is None and name not in self._unusable:
                raise self._absent(name)
            doomed = self._unfinished_folder(name)
            with disk_errors(self._folder):
                # One rename decides: before it the gallery is whole, after it gone. Emptying the
                # folder may be interrupted; the next start goes on with it.
                if gallery is None:
                    (self._folder / name).rename(doomed)
                    crops = 0
                else:
                    crops = gallery.retire(doomed)
                self._galleries.pop(name, None)
                self._unusable.pop(name, None)
                self._shelf.abandon(name)
                sync_folder(self._folder)
        folders.remove(doomed)
        return crops

    def holding(self, digests: Collection[str], but: str) -> list[str]:
        """Other galleries that hold a crop with one of these digests, or cannot tell, by name."""
        if not digests:
            return []
        unread = set(self._unusable) - {but}
        others = {name: one for name, one in self._galleries.copy().items() if name != but}
        return sorted(unread | {name for name, one in others.items() if one.holds(digests)})

    def begin_model(self, name: str, model_sha256: str, dimension: int) -> LocalGallery:
        """A version of a gallery for another model, beside the one that is served.

        Args:
            name: the gallery.
            model_sha256: the other model; its version is made if there is none.
            dimension: length of its embeddings.

        Returns:
            The version, to be filled; it is searched by nobody else.

        Raises:
            NotFound: no such gallery.
            Conflict: this is the model that is served.
            StorageFull: the disk is full.
        """
        rules.check_model(model_sha256)
        rules.check_dimension(dimension)
        with self.changing(name) as served:
            if served.model_sha256 == model_sha256:
                raise Conflict(f"gallery {name!r} is served by model {model_sha256[:12]} already")
            versions = served.versions
            with disk_errors(versions.folder):
                if model_sha256 not in versions.kept:
                    header = Header(model_sha256, dimension, time.time(), served.options)
                    path = folders.new_file(versions.folder, model_sha256)
                    _write(path, lambda unfinished: GalleryDatabase.create(unfinished, header))
                    database = GalleryDatabase(path)
                    versions.kept[model_sha256] = LocalGallery(database, versions, served=False)
                return versions.kept[model_sha256]

    def switch_model(
        self, name: str, model_sha256: str, catch_up: Callable[[Gallery, Gallery], None]
    ) -> LocalGallery:
        """Serve another version of a gallery from now on, durable on return.

        Args:
            name: the gallery.
            model_sha256: the version's model.
            catch_up: brings the version up to date; called with the version that is served and the
                other one, while no other thread writes to either, so it must not embed. What it
                raises ends the switch.

        Returns:
            The gallery as it is served now. The version before is kept.

        Raises:
            NotFound: no such gallery or version.
            Unavailable: the folder cannot be written; nothing changed.
        """
        with self.changing(name) as served:
            versions = served.versions
            with disk_errors(versions.folder):
                other = versions.kept.get(model_sha256)
                if other is None:
                    raise NotFound(f"gallery {name!r} has no version of model {model_sha256[:12]}")
                catch_up(served, other)
                other.configure(served.options)
                other.stand_by()
                folders.serve_from(other.database.path)
                del versions.kept[model_sha256]
                other.served = True
                versions.kept[served.model_sha256] = served.replaced()
                self._galleries[name] = other
                return other

    def kept_models(self, name: str) -> list[LocalGallery]:
        """Versions of a gallery beside the one that is served. Raises NotFound."""
        return list(self.open(name).versions.kept.values())

    def drop_model(self, name: str, model_sha256: str) -> None:
        """Delete a version that is not served, with its file.

        Raises:
            NotFound: no such gallery or version.
            Conflict: it is served.
        """
        with self.changing(name) as served:
            if served.model_sha256 == model_sha256:
                raise Conflict(f"gallery {name!r} is served by model {model_sha256[:12]}")
            dropped = served.versions.kept.pop(model_sha256, None)
            if dropped is None:
                raise NotFound(f"gallery {name!r} has no version of model {model_sha256[:12]}")
            dropped.end("dropped")
            folders.remove_database(dropped.database.path)

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """Snapshots of a gallery, oldest first; also of one that was deleted. Raises NotFound."""
        found = self._shelf.records(name)
        if not found and name not in self._unusable:
            self.open(name)
        return found

    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Keep a gallery as it is now, while writes go on; durable on return."""
        with ExitStack() as lasting:
            lasting.callback(self._compact, name)  # the log could not be emptied meanwhile
            with self.changing(name) as gallery:
                gallery.compact()  # a copy would keep what is left of erased crops
                taking = lasting.enter_context(self._shelf.taking(name, gallery.database))
            return self._shelf.keep(name, taking, self._locks.of(name))

    def _compact(self, name: str) -> None:
        gallery = self._galleries.get(name)
        try:
            if gallery is not None:
                gallery.compact()
        except ReidError as error:
            _log.warning("gallery %r: compaction is put off: %s", name, error)

    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        """The file of a snapshot. Raises NotFound."""
        return self._shelf.file(name, snapshot_id)

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Delete a snapshot, durable on return. Raises NotFound."""
        self._shelf.delete(name, snapshot_id)

    def restore(self, name: str, snapshot_id: str, into: str | None) -> LocalGallery:
        """Bring a snapshot back; see :class:`service.gallery.base.GalleryStore`.

        What replaces a gallery keeps its present options, and takes its other versions away.
        """
        header = self._shelf.verify(name, snapshot_id)
        copy = partial(self._shelf.copy, name, snapshot_id)
        target = name if into is None else into
        rules.check_name(target)
        with self._alone_with(target):
            if into is None and (self._folder / name).exists():
                return self._replace(name, header, copy)
            return self._make(target, header.model_sha256, copy)

    def tidy(self) -> None:
        """Remove what erasures left behind, where that was put off; a failure is for the log."""
        self._reserve.keep()
        for name, gallery in sorted(self._galleries.copy().items()):
            try:
                gallery.tidy()
            except ReidError as error:
                _log.warning("gallery %r: compaction is put off: %s", name, error)

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
            folders.remove(probe)
        return self._held is not None

    def close(self) -> None:
        """Finish writes and release files; what follows answers that the store is closed."""
        with self._lock:
            held, self._held = self._held, None  # from now on nothing begins
        with ExitStack() as closing:  # a failure skips no other gallery
            if held is not None:
                closing.callback(held.close)
            for name in {*self._galleries.copy(), *self._locks.names()}:
                closing.callback(self._close_gallery, name)

    def _close_gallery(self, name: str) -> None:
        with self._locks.of(name):  # whatever makes or changes it now comes to its end first
            gallery = self._galleries.get(name)
            if gallery is not None:
                gallery.close()

    def _load(self) -> None:
        with disk_errors(self._folder):
            self._shelf.remove_unfinished()
            entries = sorted(self._folder.iterdir())
        for entry in entries:
            if entry.name.startswith(_UNFINISHED):
                _log.info("%s: removing what an interrupted change left", entry)
                folders.remove(entry)
            elif entry.is_dir() and not rules.is_name(entry.name):
                # No address may hold it; ``lost+found`` of a file system, or a copy by hand.
                _log.warning("%s: left alone: %r is no gallery's name", entry, entry.name)
            elif entry.is_dir():
                self._load_gallery(entry)
        if sum(stats.crops for stats in self.stats()) > _WORTH_FREEZING:
            gc.freeze()  # a full collection would walk over every crop, and find nothing

    def _load_gallery(self, folder: Path) -> None:
        start, before = time.monotonic(), self._unusable.get(folder.name)
        try:
            with disk_errors(folder):
                folders.bring_up_to_date(folder)
                self._galleries[folder.name] = self._open_folder(folder)
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
        with self._alone_with(name):
            if self._unusable.get(name) is failure:  # nobody else has tried meanwhile
                self._load_gallery(self._folder / name)
            return self._galleries.get(name)

    def _open_folder(self, folder: Path) -> LocalGallery:
        versions = self._versions(folder)
        served = _opened(folders.served_file(folder), versions, served=True)
        for path in folders.other_files(folder):
            try:
                kept = _opened(path, versions, served=False)
            except ReidError as error:
                _log.error("%s: this version is left alone: %s", path, error)
                continue
            if kept.model_sha256 in {served.model_sha256, *versions.kept}:
                _log.info("%s: removing what an interrupted change left", path)
                kept.end("deleted")
                folders.remove_database(path)
            else:
                versions.kept[kept.model_sha256] = kept
        try:
            if found := bring_back_pictures(served):
                _log.info("gallery %r: %d pictures came back", folder.name, found)
        except ReidError as error:  # the gallery can be served all the same
            _log.warning("gallery %r: pictures are not brought back: %s", folder.name, error)
        return served

    def _absent(self, name: str) -> ReidError:
        if failure := self._unusable.get(name):
            return Unavailable(f"gallery {name!r} is not served: {failure.reason}")
        return NotFound(f"gallery {name[:80]!r} does not exist")

    def _make(self, name: str, model_sha256: str, write: Callable[[Path], None]) -> LocalGallery:
        """A new gallery whose database ``write`` writes; all of it or nothing."""
        if name in self._galleries or name in self._unusable:
            raise Conflict(f"gallery {name!r} exists")
        unfinished = self._unfinished_folder(name)
        with disk_errors(self._folder):
            self._clear_away(name)
            try:
                unfinished.mkdir()
                database = folders.new_file(unfinished, model_sha256)
                _write(database, write)
                folders.serve_from(database)
                unfinished.rename(self._folder / name)
            except BaseException:
                folders.remove(unfinished)
                raise
            sync_folder(self._folder)
            self._galleries[name] = self._open_folder(self._folder / name)
        return self._galleries[name]

    def _replace(self, name: str, header: Header, write: Callable[[Path], None]) -> LocalGallery:
        """What a gallery holds, replaced by a database that ``write`` writes."""
        folder, old = self._folder / name, self._galleries.get(name)
        if old is not None and header.model_sha256 not in {
            old.model_sha256,
            *old.versions.kept,
        }:
            raise Conflict(
                f"the snapshot is of model {header.model_sha256[:12]}, which gallery {name!r} no "
                "longer has: restore it into a new gallery"
            )
        with disk_errors(folder):
            path = folders.new_file(folder, header.model_sha256)
            _write(path, write)
            try:
                fresh = _opened(path, self._versions(folder), served=True)
                if old is not None:
                    fresh.configure(old.options)
                folders.serve_from(path)
            except BaseException:
                folders.remove_database(path)
                raise
            if old is not None:
                for version in (*old.versions.kept.values(), old):
                    version.end("replaced")
            for stale in folders.other_files(folder):
                folders.remove_database(stale)
            self._unusable.pop(name, None)
            self._galleries[name] = fresh
            return fresh

    def _versions(self, folder: Path) -> Versions:
        holding = partial(self._shelf.holding, folder.name)
        return Versions(folder, self._gpu, holding, self._reserve, self._locks.of(folder.name))

    def _clear_away(self, name: str) -> None:
        """Remove what a creation left that failed after its rename, when the folder was synced."""
        with suppress(FileNotFoundError):
            doomed = (self._folder / name).rename(self._unfinished_folder(name))
            folders.remove(doomed)

    def _unfinished_folder(self, name: str) -> Path:
        return self._folder / f"{_UNFINISHED}{name}-{secrets.token_hex(4)}"

    @contextmanager
    def _alone_with(self, name: str) -> Iterator[None]:
        """Keep everybody else from making, changing or deleting this gallery; others go on."""
        with self._locks.of(name):
            if self._held is None:
                raise Unavailable("the gallery store is closed")
            yield


def _opened(path: Path, versions: Versions, *, served: bool) -> LocalGallery:
    database = GalleryDatabase(path)
    try:
        return LocalGallery(database, versions, served=served)
    except BaseException:
        with suppress(ReidError):
            database.close()
        raise


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a database whole or not at all, durable on return."""
    unfinished = path.with_name(path.name + folders.UNFINISHED)
    folders.remove_database(unfinished)  # of an attempt whose disk took no removals either
    try:
        write(unfinished)
        folders.finish(unfinished, path)
    except BaseException:
        folders.remove_database(unfinished)
        raise


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
