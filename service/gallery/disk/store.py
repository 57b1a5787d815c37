"""Galleries on this machine: SQLite is the truth, and the searchable rows in memory follow it.

::

    <root>/lock                              held by the one process that serves this folder
    <root>/reserve                           space for erasing crops and revoking keys if it is full
    <root>/galleries/<name>/                 one gallery (see service.gallery.disk.folders)
    <root>/snapshots/<name>/<id>.sqlite3     copies of galleries
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Literal

from typing_extensions import override

from service.errors import Conflict, NotFound, ReidError, Unavailable
from service.gallery import rules
from service.gallery.allocation import IN_MEMORY, OnDisk
from service.gallery.base import DEFAULT_OPTIONS, GalleryOptions, GalleryStats, SnapshotRecord
from service.gallery.disk import folders
from service.gallery.disk.catalogue import UNFINISHED_FOLDER, Catalogue
from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.folder_lock import hold
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.header import Header
from service.gallery.disk.model_versions import ModelVersions
from service.gallery.disk.name_locks import NameLocks
from service.gallery.disk.opening import open_version
from service.gallery.disk.snapshots import SnapshotShelf
from service.gallery.protocol import Gallery, GalleryStore
from service.gallery.rows.nearest import Gpu, resolve_device
from service.machine.disk_reserve import DATA_RESERVE, Reserve
from service.machine.disk_reserve import FILE as RESERVE_FILE
from service.machine.durable import disk_errors, sync_folder

_log = logging.getLogger(__name__)
_PROBE_BYTES = 64 * 1024


class DiskGalleryStore(GalleryStore):
    """All galleries under one folder, served by one process.

    Args:
        root: the data folder; created if missing.
        device: where unfiltered queries run. ``auto`` uses a GPU if FAISS can use one, ``cuda``
            fails to start without a GPU, ``cpu`` never uses one. Filtered queries always run on the
            CPU.
        embeddings: where the embeddings of the galleries live meanwhile. ``disk`` maps files in
            ``root``, of which the system keeps in memory what fits.
        idle_seconds: a version beside the served one leaves memory at the next :meth:`tidy` if
            nobody has searched or filled it for so long.

    Raises:
        Unavailable: the folder cannot be used, another process serves it, or there is no GPU.
        StorageFull: the disk is full.
    """

    def __init__(
        self,
        root: Path,
        *,
        device: Literal["auto", "cuda", "cpu"] = "auto",
        embeddings: Literal["memory", "disk"] = "memory",
        idle_seconds: float = 900.0,
    ) -> None:
        self._device = resolve_device(device)
        self._idle_seconds = idle_seconds
        self._gpu = Gpu(required=device == "cuda") if self._device == "cuda" else None
        self._allocation = OnDisk(root) if embeddings == "disk" else IN_MEMORY
        self._root = root
        self._folder = root / "galleries"
        self._shelf = SnapshotShelf(root / "snapshots")
        self._catalogue = Catalogue(self._folder, self._versions)
        self._locks = NameLocks()
        self._lock = threading.Lock()  # held while the store is closed, never while one waits
        with disk_errors(root):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._held: IO[str] | None = hold(root / "lock")
        self._reserve = Reserve(root / RESERVE_FILE, DATA_RESERVE)
        if not self._reserve.keep():
            _log.warning("%s: the disk is full; no space is reserved for erasing crops", root)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    @property
    @override
    def device(self) -> Literal["cuda", "cpu"]:
        return self._device

    @override
    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> DiskGallery:
        rules.check_name(name)
        rules.check_model(model_sha256)
        rules.check_dimension(dimension)
        rules.check_options(options)
        header = Header(model_sha256, dimension, time.time(), options)
        with self._alone_with(name):
            return self._make(name, model_sha256, lambda path: GalleryDatabase.create(path, header))

    @override
    def open(self, name: str) -> DiskGallery:
        gallery = self._catalogue.served.get(name) or self._try_again(name)
        if gallery is None:
            raise self._catalogue.absent(name)
        return gallery

    @override
    @contextmanager
    def changing(self, name: str) -> Iterator[DiskGallery]:
        with self._alone_with(name):
            yield self.open(name)

    @override
    def stats(self) -> list[GalleryStats]:
        found: list[GalleryStats] = []
        for _, gallery in sorted(self._catalogue.served.copy().items()):
            with suppress(NotFound):  # deleted meanwhile
                found.append(gallery.stats())
        return found

    @override
    def delete(self, name: str) -> int:
        with self._alone_with(name):
            gallery = self._catalogue.served.get(name)
            if name not in self._catalogue:
                raise self._catalogue.absent(name)
            removed = self._unfinished_folder(name)
            with disk_errors(self._folder):
                # One rename decides: before it the gallery is whole, after it the gallery is gone.
                # If emptying the folder is interrupted, the next start continues.
                if gallery is None:
                    (self._folder / name).rename(removed)
                    crops = 0
                else:
                    crops = gallery.retire(removed)
                self._catalogue.drop(name)
                self._shelf.abandon(name)
                sync_folder(self._folder)
        folders.remove(removed)
        return crops

    @override
    def holding(self, digests: Collection[str], but: str) -> list[str]:
        if not digests:
            return []
        unread = set(self._catalogue.unusable) - {but}
        others = {name: one for name, one in self._catalogue.served.copy().items() if name != but}
        return sorted(unread | {name for name, one in others.items() if one.holds(digests)})

    def begin_model(self, name: str, model_sha256: str, dimension: int) -> DiskGallery:
        """Open a version of a gallery for another model, beside the one that is served.

        Args:
            name: the gallery.
            model_sha256: the other model; its version is created if there is none.
            dimension: length of its embeddings.

        Returns:
            The version, to be filled; it is not searched yet.

        Raises:
            NotFound: there is no such gallery.
            Conflict: this is the model that is served.
            StorageFull: the disk is full.
        """
        rules.check_model(model_sha256)
        rules.check_dimension(dimension)
        with self.changing(name) as served:
            if served.model_sha256 == model_sha256:
                raise Conflict(f"gallery {name!r} is already served by model {model_sha256[:12]}")
            versions = served.versions
            with disk_errors(versions.folder):
                if model_sha256 not in versions.kept:
                    header = Header(model_sha256, dimension, time.time(), served.options)
                    path = folders.new_file(versions.folder, model_sha256)
                    folders.write_database(path, partial(GalleryDatabase.create, header=header))
                    database = GalleryDatabase(path)
                    versions.kept[model_sha256] = DiskGallery(database, versions, served=False)
                return versions.kept[model_sha256]

    def switch_model(
        self, name: str, model_sha256: str, catch_up: Callable[[Gallery, Gallery], None]
    ) -> DiskGallery:
        """Serve another version of a gallery from now on, durable on return.

        Args:
            name: the gallery.
            model_sha256: the version's model.
            catch_up: brings the version up to date. It is called with the served version and the
                other one while no other thread writes to either, so it must not embed. An exception
                ends the switch.

        Returns:
            The gallery as it is served now. The previous version is kept.

        Raises:
            NotFound: there is no such gallery or version.
            Unavailable: the folder cannot be written; nothing changed.
        """
        with self.changing(name) as served:
            versions = served.versions
            with disk_errors(versions.folder):
                other = versions.kept.get(model_sha256)
                if other is None:
                    raise NotFound(f"gallery {name!r} has no version for model {model_sha256[:12]}")
                catch_up(served, other)
                other.configure(served.options)
                other.stand_by()
                folders.serve_from(other.database.path)
                del versions.kept[model_sha256]
                other.served = True
                versions.kept[served.model_sha256] = served.replaced()
                self._catalogue.serve(other)
                return other

    def kept_models(self, name: str) -> list[DiskGallery]:
        """Versions of a gallery beside the one that is served. Raises NotFound."""
        return list(self.open(name).versions.kept.values())

    def drop_model(self, name: str, model_sha256: str) -> None:
        """Delete a version that is not served, with its file.

        Raises:
            NotFound: there is no such gallery or version.
            Conflict: it is served.
        """
        with self.changing(name) as served:
            if served.model_sha256 == model_sha256:
                raise Conflict(f"gallery {name!r} is served by model {model_sha256[:12]}")
            dropped = served.versions.kept.pop(model_sha256, None)
            if dropped is None:
                raise NotFound(f"gallery {name!r} has no version for model {model_sha256[:12]}")
            dropped.end("dropped")
            folders.remove_database(dropped.database.path)

    @override
    def snapshots(self, name: str) -> list[SnapshotRecord]:
        found = self._shelf.records(name)
        if not found and name not in self._catalogue.unusable:
            self.open(name)
        return found

    @override
    def take_snapshot(self, name: str) -> SnapshotRecord:
        with ExitStack() as lasting:
            lasting.callback(self._compact, name)  # the copy keeps the log from being emptied
            with self.changing(name) as gallery:
                gallery.compact()  # the copy must not contain remains of erased crops
                snapshot = lasting.enter_context(self._shelf.begin(name, gallery.database))
            return self._shelf.keep(name, snapshot, self._locks.of(name))

    @override
    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        return self._shelf.file(name, snapshot_id)

    @override
    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        self._shelf.delete(name, snapshot_id)

    @override
    def restore(self, name: str, snapshot_id: str, into: str | None) -> DiskGallery:
        """Restore a snapshot; see :meth:`service.gallery.protocol.GalleryStore.restore`.

        A gallery whose content is replaced keeps its present options and loses its other versions.
        """
        header = self._shelf.verify(name, snapshot_id)
        copy = partial(self._shelf.copy, name, snapshot_id)
        target = name if into is None else into
        rules.check_name(target)
        with self._alone_with(target):
            if into is None and (self._folder / name).exists():
                return self._replace(name, header, copy)
            return self._make(target, header.model_sha256, copy)

    @override
    def tidy(self) -> None:
        self._reserve.keep()
        for name, gallery in sorted(self._catalogue.served.copy().items()):
            try:
                gallery.tidy(self._idle_seconds)
            except ReidError as error:
                _log.warning("gallery %r: compaction is postponed: %s", name, error)

    @override
    def writable(self) -> bool:
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

    @override
    def close(self) -> None:
        """Finish writes and close files; later calls fail because the store is closed."""
        with self._lock:
            held, self._held = self._held, None  # no further change begins
        with ExitStack() as closing:  # a failure skips no other gallery
            if held is not None:
                closing.callback(held.close)
            for name in {*self._catalogue.served.copy(), *self._locks.names()}:
                closing.callback(self._close_gallery, name)

    def _compact(self, name: str) -> None:
        gallery = self._catalogue.served.get(name)
        try:
            if gallery is not None:
                gallery.compact()
        except ReidError as error:
            _log.warning("gallery %r: compaction is postponed: %s", name, error)

    def _close_gallery(self, name: str) -> None:
        with self._locks.of(name):  # waits until a change in progress has ended
            gallery = self._catalogue.served.get(name)
            if gallery is not None:
                gallery.close()

    def _load(self) -> None:
        with disk_errors(self._folder):
            self._shelf.remove_unfinished()
            self._catalogue.load_all()

    def _try_again(self, name: str) -> DiskGallery | None:
        """Load a gallery that could not be read before; the disk may have room again."""
        if not self._catalogue.due(name):
            return None
        with self._alone_with(name):
            if self._catalogue.due(name):  # no other thread has tried meanwhile
                self._catalogue.load(name)
            return self._catalogue.served.get(name)

    def _make(self, name: str, model_sha256: str, write: Callable[[Path], None]) -> DiskGallery:
        """Make a new gallery whose database ``write`` writes; all of it or nothing."""
        if name in self._catalogue:
            raise Conflict(f"gallery {name!r} already exists")
        unfinished = self._unfinished_folder(name)
        with disk_errors(self._folder):
            self._clear_away(name)
            try:
                unfinished.mkdir()
                database = folders.new_file(unfinished, model_sha256)
                folders.write_database(database, write)
                folders.serve_from(database)
                unfinished.rename(self._folder / name)
            except BaseException:
                folders.remove(unfinished)
                raise
            sync_folder(self._folder)
            return self._catalogue.open(name)

    def _replace(self, name: str, header: Header, write: Callable[[Path], None]) -> DiskGallery:
        """Replace a gallery's content by a database that ``write`` writes."""
        folder, old = self._folder / name, self._catalogue.served.get(name)
        if old is not None and header.model_sha256 not in {
            old.model_sha256,
            *old.versions.kept,
        }:
            raise Conflict(
                f"the snapshot is from model {header.model_sha256[:12]}, which gallery {name!r} no "
                "longer has: restore it into a new gallery"
            )
        with disk_errors(folder):
            path = folders.new_file(folder, header.model_sha256)
            folders.write_database(path, write)
            try:
                fresh = open_version(path, self._versions(folder), served=True)
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
            self._catalogue.serve(fresh)
            return fresh

    def _versions(self, folder: Path) -> ModelVersions[DiskGallery]:
        holding = partial(self._shelf.holding, folder.name)
        lock = self._locks.of(folder.name)
        return ModelVersions(folder, self._gpu, self._allocation, holding, self._reserve, lock)

    def _clear_away(self, name: str) -> None:
        """Remove what is left of a creation that failed after its rename, while syncing."""
        with suppress(FileNotFoundError):
            removed = (self._folder / name).rename(self._unfinished_folder(name))
            folders.remove(removed)

    def _unfinished_folder(self, name: str) -> Path:
        return self._folder / f"{UNFINISHED_FOLDER}{name}-{secrets.token_hex(4)}"

    @contextmanager
    def _alone_with(self, name: str) -> Iterator[None]:
        """Keep other threads from creating, changing or deleting this gallery, but no other one."""
        with self._locks.of(name):
            if self._held is None:
                raise Unavailable("the gallery store is closed")
            yield
