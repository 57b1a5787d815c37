"""Restrict imports to certain folders of this machine, the import roots."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from service.errors import Forbidden, InvalidInput, ReidError
from service.imports.items import ImportLimits, check_relative
from service.imports.open_beneath import (
    OpenFolder,
    entries,
    is_linked,
    look,
    open_plain,
    require_short,
)
from service.ingest.picture_files import Entry
from service.settings import EVERY_GALLERY

T = TypeVar("T")

_OUT = "a symbolic link that leads out of the import root"


def roots_for(
    setting: Sequence[Path] | Mapping[str, Sequence[Path]], gallery: str, *, bound: bool
) -> ImportRoots:
    """Find the folders that a caller may import into a gallery.

    Args:
        setting: ``import_roots``. A list is for callers that are not bound to galleries. A mapping
            has the folders of each gallery; those under ``*`` are for any gallery, but only for
            callers that are not bound to galleries.
        gallery: the gallery to import into.
        bound: whether the caller's key is bound to galleries.

    Returns:
        The folders, possibly none. Close them after use.
    """
    mapped = setting if isinstance(setting, Mapping) else {EVERY_GALLERY: setting}
    mine = [*mapped.get(gallery, ())]
    if bound:
        return ImportRoots(mine, Forbidden(_unmapped(gallery)))
    mine += mapped.get(EVERY_GALLERY, ())
    if any(mapped.values()):
        reason = f"REID_IMPORT_ROOTS has no folder for gallery {gallery!r}"
    else:
        reason = "this service reads no folders; the operator can allow some in REID_IMPORT_ROOTS"
    return ImportRoots(mine, InvalidInput(reason))


def _unmapped(gallery: str) -> str:
    return (
        "this key is bound to galleries, and no folder is mapped to "
        f"gallery {gallery!r}; the operator can add one to REID_IMPORT_ROOTS, such as "
        f'{{"{gallery}": ["/srv/{gallery}"]}}'
    )


class ImportRoots:
    """Finds, lists and opens files below the import roots.

    If several roots contain a path, the first one is used. Each root is opened when it is first
    needed, and held open until :meth:`close`. Links are followed as long as they stay in a root.

    Args:
        roots: the folders, from the setting.
        lacking: the error to raise if there are none.
    """

    def __init__(self, roots: Sequence[Path], lacking: ReidError) -> None:
        self._named = [root.resolve() for root in roots]
        self._lacking = lacking
        self._held: dict[Path, OpenFolder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folders."""
        for root in self._held.values():
            root.close()
        self._held.clear()

    def require_any(self) -> None:
        """Check that there is a folder to read. Raises ReidError: why there is none."""
        if not self._named:
            raise self._lacking

    def folder(self, name: str) -> Path:
        """Find a folder below a root.

        Args:
            name: its path relative to the root; ``.`` is the root itself.

        Returns:
            Its path. Another folder may be there by the time it is opened, but none outside the
            roots.

        Raises:
            InvalidInput: it is absolute, contains ``..``, leads out of its root, or does not exist.
            ReidError: there is no root.
        """
        path, found = self._find(name)
        if found.kind != "folder":
            raise InvalidInput(f"folder {name[:80]!r}: not a folder")
        return path

    def file(self, name: str) -> Path:
        """Find a file below a root. Args, Returns and Raises: see :meth:`folder`."""
        path, found = self._find(name)
        if found.kind != "file":
            raise InvalidInput(f"path {name[:80]!r}: not a file")
        return path

    def open(self, path: Path) -> BinaryIO:
        """Open a regular file.

        Args:
            path: a path below a root.

        Returns:
            The file, which lies below a root even if the path was changed in the meantime.

        Raises:
            InvalidInput: it leads out of every root, or is not a regular file.
            OSError: it cannot be opened.
        """
        return self._at(path, open_plain)

    def look(self, path: Path) -> Entry:
        """What a path refers to, after following links. Args and Raises: see :meth:`open`."""
        return self._at(path, look)

    def entries(self, folder: Path, most: int) -> list[Entry]:
        """List a folder; links are not resolved.

        Args:
            folder: a path below a root.
            most: list at most one entry more than this.

        Returns:
            The entries in any order.

        Raises:
            InvalidInput: it leads out of every root.
            OSError: it cannot be listed.
        """
        return self._at(folder, lambda name, at: entries(name, at, most))

    def _find(self, name: str) -> tuple[Path, Entry]:
        self.require_any()
        check_relative(name)
        leads_out = False
        for root in self._named:
            try:
                return root / name, self.look(root / name)
            except InvalidInput:
                leads_out = True
            except OSError:  # not in this one
                continue
        if leads_out:
            raise InvalidInput(f"path {name[:80]!r}: {_OUT}")
        raise InvalidInput(f"path {name[:80]!r}: not found in any import root")

    def _at(self, path: Path, act: Callable[[str, int], T]) -> T:
        try:
            require_short(path)
            return self._directly(path, act)
        except ValueError as error:  # not a valid file name on this system
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        except OSError as error:
            if not is_linked(error):
                raise
            # This is only a hint. The resulting path is opened like any other, without links.
            real = Path(os.path.realpath(path))
            if real == path:
                raise
        return self._directly(real, act)

    def _directly(self, path: Path, act: Callable[[str, int], T]) -> T:
        """Call a function on a path that must not contain links."""
        for root in self._named:
            if path.is_relative_to(root):
                return self._hold(root).at(path.relative_to(root).parts, act)
        raise InvalidInput(_OUT)

    def _hold(self, root: Path) -> OpenFolder:
        if root not in self._held:
            self._held[root] = OpenFolder(root)
        return self._held[root]


class RootTree:
    """Lists folders below the roots for :func:`service.ingest.picture_files.walk`.

    Args:
        roots: the folders that links may lead to.
        limits: limits the number of files and folders.
    """

    def __init__(self, roots: ImportRoots, limits: ImportLimits) -> None:
        self._roots = roots
        self._bounds = limits
        self._seen = 0

    def entries(self, folder: Path) -> list[Entry]:
        """List a folder. Raises TooLarge: too many entries so far."""
        found = self._roots.entries(folder, self._bounds.items - self._seen)
        self._seen += len(found)
        self._bounds.check_items(self._seen)
        return found

    def follow(self, link: Path) -> Entry:
        """The target of a link. Raises InvalidInput: outside the roots; OSError: missing."""
        return self._roots.look(link)
