"""The copy in memory of one version of a gallery, which answers queries and follows its file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.loaded import LoadedRows, uncollected
from service.gallery.disk.model_versions import ModelVersions
from service.gallery.rows.live_rows import Draft

_log = logging.getLogger(__name__)


class MemoryCopy:
    """What is in memory of one version: read from its file when needed, and let go when not.

    The database is the truth. Whoever writes to it holds the lock of all versions, and then shows
    the copy what was committed.

    Args:
        database: the version's file.
        versions: what the version shares with the gallery's others.
        require_open: raises if the version is not open any more, so must not be read again.
    """

    def __init__(
        self,
        database: GalleryDatabase,
        versions: ModelVersions[Any],
        require_open: Callable[[], None],
    ) -> None:
        self._database = database
        self._versions = versions
        self._require_open = require_open
        self._loaded: LoadedRows | None = None
        self._used = time.monotonic()

    @property
    def present(self) -> LoadedRows | None:
        """What is in memory now; None if nothing is."""
        return self._loaded

    def rows(self) -> LoadedRows:
        """What is in memory, read from the file before if nothing was.

        Raises:
            Unavailable: the file cannot be read.
            NotFound: the version was deleted.
        """
        self._used = time.monotonic()
        loaded = self._loaded
        if loaded is None:
            with self._versions.lock:
                loaded = self._loaded = self._loaded or self._load()
        return loaded

    def show(self, draft: Draft, sound: Sequence[str] = ()) -> None:
        """Show queries what was committed; the write has succeeded, so this must not fail.

        Args:
            draft: what was written.
            sound: ids of crops that were written, so are not damaged any more.
        """
        if self._loaded is None:
            return
        try:
            self._loaded.rows.show(draft)
            self._loaded.damaged.difference_update(sound)
        except BaseException as error:
            self._loaded = None
            name = self._versions.folder.name
            _log.warning("gallery %r is read again from its file: %r", name, error)
            if not isinstance(error, Exception):
                raise

    def let_go(self) -> None:
        """Free the memory; the next who needs the rows reads them again."""
        self._loaded = None

    def rest(self, idle_seconds: float) -> None:
        """Free the memory if nobody has used the rows for this long."""
        if time.monotonic() - self._used >= idle_seconds:
            self.let_go()

    def _load(self) -> LoadedRows:
        self._require_open()
        versions, dimension = self._versions, self._database.header.dimension
        with uncollected():
            stored = self._database.load(versions.allocation)
            return LoadedRows.of(
                versions.folder.name, stored, dimension, versions.gpu, versions.allocation
            )
