"""The galleries of a data folder: those that are served, and why others cannot be."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.errors import NotFound, ReidError, Unavailable
from service.gallery import rules
from service.gallery.disk import folders
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.model_versions import ModelVersions
from service.gallery.disk.opening import open_gallery
from service.machine.durable import disk_errors

_log = logging.getLogger(__name__)

UNFINISHED_FOLDER = "."
"""Marks a folder half made or half removed; no gallery's name starts with it."""
_WORTH_FREEZING = 10_000
# A gallery that could not be read is tried again after this pause, or after this multiple of the
# time that the last try took.
_PAUSE_SECONDS, _PAUSE_SHARE = 3.0, 20.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a gallery is not served, and when (monotonic seconds) to try again."""

    reason: str
    until: float


class Catalogue:
    """Every gallery of a folder by name; the store's locks guard changes.

    Args:
        folder: holds one folder per gallery.
        versions_of: makes what the versions of the gallery in a folder share.

    Attributes:
        served: galleries that are served, by name.
        unusable: why other galleries are not, by name.
    """

    def __init__(
        self, folder: Path, versions_of: Callable[[Path], ModelVersions[DiskGallery]]
    ) -> None:
        self.folder = folder
        self.served: dict[str, DiskGallery] = {}
        self.unusable: dict[str, _Failure] = {}
        self._versions_of = versions_of

    def __contains__(self, name: str) -> bool:
        """Whether there is such a gallery, served or not."""
        return name in self.served or name in self.unusable

    def load_all(self) -> None:
        """Load every gallery, and remove what interrupted changes left behind."""
        for entry in sorted(self.folder.iterdir()):
            if entry.name.startswith(UNFINISHED_FOLDER):
                _log.info("%s: removing what an interrupted change left behind", entry)
                folders.remove(entry)
            elif entry.is_dir() and not rules.is_name(entry.name):
                # For example a file system's ``lost+found``, or a copy made by hand.
                _log.warning("%s: ignored, since %r is not a gallery name", entry, entry.name)
            elif entry.is_dir():
                self.load(entry.name)
        if sum(gallery.stats().crops for gallery in self.served.values()) > _WORTH_FREEZING:
            gc.freeze()  # a full collection would scan every crop and find nothing

    def load(self, name: str) -> None:
        """Load a gallery; if it cannot be read, the reason is kept for those who ask for it."""
        folder, start, before = self.folder / name, time.monotonic(), self.unusable.get(name)
        try:
            with disk_errors(folder):
                folders.bring_up_to_date(folder)
                self.open(name)
        except ReidError as error:
            if before is None or before.reason != str(error):
                _log.error("gallery %r is not served: %s", name, error)
            pause = max(_PAUSE_SECONDS, _PAUSE_SHARE * (time.monotonic() - start))
            self.unusable[name] = _Failure(str(error), time.monotonic() + pause)

    def open(self, name: str) -> DiskGallery:
        """Open a gallery's folder, and serve it."""
        gallery = open_gallery(self._versions_of(self.folder / name))
        self.serve(gallery)
        return gallery

    def serve(self, gallery: DiskGallery) -> None:
        """Serve a gallery from now on, in place of the one with its name."""
        self.served[gallery.name] = gallery
        self.unusable.pop(gallery.name, None)

    def due(self, name: str) -> bool:
        """Whether a gallery that could not be read should be tried again now."""
        failure = self.unusable.get(name)
        return failure is not None and time.monotonic() >= failure.until

    def absent(self, name: str) -> ReidError:
        """The error for a gallery that is not served."""
        if failure := self.unusable.get(name):
            return Unavailable(f"gallery {name!r} is not served: {failure.reason}")
        return NotFound(f"gallery {name[:80]!r} does not exist")

    def drop(self, name: str) -> None:
        """Forget a gallery that was deleted."""
        self.served.pop(name, None)
        self.unusable.pop(name, None)
