"""The folders of this machine an import may read, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from service.errors import Forbidden, InvalidInput, ReidError, TooLarge
from service.imports.items import Bounds, check_relative
from service.imports.open_beneath import (
    OpenFolder,
    entries,
    is_linked,
    look,
    open_plain,
    require_short,
)
from service.ingest.picture_files import Entry
from service.machine.durable import disk_errors
from service.settings import EVERY_GALLERY

T = TypeVar("T")

_CHUNK = 1 << 20
_COPY = "manifest"
_OUT = "a symbolic link that leads out of the import root"


def roots_for(
    setting: Sequence[Path] | Mapping[str, Sequence[Path]], gallery: str, *, bound: bool
) -> ImportRoots:
    """The folders that one caller may import into one gallery.

    Args:
        setting: ``import_roots``. A list is for callers that are bound to no gallery. A mapping
            has the folders of each gallery, and under ``*`` those that callers who are bound to
            no gallery may import into any.
        gallery: the gallery that the import fills.
        bound: whether the caller's key is bound to galleries.

    Returns:
        The folders, perhaps none. They have to be closed.
    """
    mapped = setting if isinstance(setting, Mapping) else {EVERY_GALLERY: setting}
    mine = [*mapped.get(gallery, ())]
    if bound:
        return ImportRoots(mine, Forbidden(_unmapped(gallery)))
    mine += mapped.get(EVERY_GALLERY, ())
    if any(mapped.values()):
        reason = f"no folder of REID_IMPORT_ROOTS is for gallery {gallery!r}"
    else:
        reason = "this service reads no folders: its operator has to name some in REID_IMPORT_ROOTS"
    return ImportRoots(mine, InvalidInput(reason))


def _unmapped(gallery: str) -> str:
    return (
        "this key is bound to galleries, and no folder is mapped to "
        f"gallery {gallery!r}: the operator has to name it in REID_IMPORT_ROOTS, such as "
        f'{{"{gallery}": ["/srv/{gallery}"]}}'
    )


class ImportRoots:
    """Finds, lists and opens what is below some folders; of several, the first that has it counts.

    Every folder is opened once, when it is first needed, and held until :meth:`close`. Links inside
    the folders are followed as long as they stay in one of them.

    Args:
        roots: the folders, as the operator named them.
        lacking: why nothing can be read where there are none.
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
        """Let go of the folders."""
        for root in self._held.values():
            root.close()
        self._held.clear()

    def require_any(self) -> None:
        """Make sure that there is a folder to read. Raises ReidError: why there is none."""
        if not self._named:
            raise self._lacking

    def folder(self, name: str) -> Path:
        """A folder below a root.

        Args:
            name: relative to the root; ``.`` is the root itself.

        Returns:
            Where it is. It may be another one when it is opened, but never one outside.

        Raises:
            InvalidInput: it is absolute, climbs, leads out of its root, or is not there.
            ReidError: there is no root to look in.
        """
        path, found = self._find(name)
        if found.kind != "folder":
            raise InvalidInput(f"folder {name[:80]!r}: not a folder")
        return path

    def file(self, name: str) -> Path:
        """A file below a root. Args, returns and raises as :meth:`folder`."""
        path, found = self._find(name)
        if found.kind != "file":
            raise InvalidInput(f"path {name[:80]!r}: not a file")
        return path

    def open(self, path: Path) -> BinaryIO:
        """Open a plain file.

        Args:
            path: below a root by its name.

        Returns:
            The file, which lies below a root whatever became of the path meanwhile.

        Raises:
            InvalidInput: it leads out of every root, or is no plain file.
            OSError: it cannot be opened.
        """
        return self._at(path, open_plain)

    def look(self, path: Path) -> Entry:
        """What a path is, once its links are followed. Args and raises as :meth:`open`."""
        return self._at(path, look)

    def entries(self, folder: Path, most: int) -> list[Entry]:
        """What a folder holds, links as links.

        Args:
            folder: below a root by its name.
            most: how many entries are listed.

        Returns:
            At most one more than ``most``, in any order.

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
        raise InvalidInput(f"path {name[:80]!r}: there is no such path in an import root")

    def _at(self, path: Path, act: Callable[[str, int], T]) -> T:
        try:
            require_short(path)
            return self._directly(path, act)
        except ValueError as error:  # a name that no file of this system can have
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
        except OSError as error:
            if not is_linked(error):
                raise
            # Only a hint where the links lead: the way there is walked as any other, without them.
            real = Path(os.path.realpath(path))
            if real == path:
                raise
        return self._directly(real, act)

    def _directly(self, path: Path, act: Callable[[str, int], T]) -> T:
        """Do something at a path on which no link may lie."""
        for root in self._named:
            if path.is_relative_to(root):
                return self._hold(root).at(path.relative_to(root).parts, act)
        raise InvalidInput(_OUT)

    def _hold(self, root: Path) -> OpenFolder:
        if root not in self._held:
            self._held[root] = OpenFolder(root)
        return self._held[root]


class RootTree:
    """A folder below a root, for :func:`service.ingest.picture_files.walk`.

    Args:
        roots: where links may lead.
        bounds: how many files and folders there may be.
    """

    def __init__(self, roots: ImportRoots, bounds: Bounds) -> None:
        self._roots = roots
        self._bounds = bounds
        self._seen = 0

    def entries(self, folder: Path) -> list[Entry]:
        """What a folder holds. Raises TooLarge: with all before it, too much."""
        found = self._roots.entries(folder, self._bounds.items - self._seen)
        self._seen += len(found)
        self._bounds.check_items(self._seen)
        return found

    def follow(self, link: Path) -> Entry:
        """What a link leads to. Raises InvalidInput: out of the roots; OSError: nowhere."""
        return self._roots.look(link)


def read_image(path: Path, roots: ImportRoots, bounds: Bounds) -> bytes:
    """Read an image file, never more than an image may have.

    Args:
        path: below a root by its name.
        roots: open it.
        bounds: knows the size.

    Returns:
        Its bytes.

    Raises:
        ImageTooLarge: it is larger.
        InvalidInput: it leads out of the roots, is not a file, or cannot be read.
    """
    try:
        with roots.open(path) as file:
            bounds.check_image(os.fstat(file.fileno()).st_size)
            data = file.read(bounds.image_bytes + 1) or b""  # None of a file that would block
    except OSError as error:
        raise InvalidInput(error.strerror or str(error)) from error
    bounds.check_image(len(data))
    return data


@contextmanager
def private_copy(path: Path, roots: ImportRoots, bounds: Bounds, scratch: Path) -> Iterator[Path]:
    """A manifest as it is now, for as long as the block runs: it is read more than once.

    Args:
        path: below a root by its name.
        roots: open it.
        bounds: what an import may unpack to bounds the copy.
        scratch: the folder to keep it in; made if it is not there.

    Yields:
        The copy, which has the same suffix.

    Raises:
        TooLarge: it is larger.
        InvalidInput: it leads out of the roots, is not a file, or cannot be read.
        StorageFull: the disk is full.
    """
    copy = scratch / f"{_COPY}{path.suffix}"
    try:
        try:
            file = roots.open(path)
        except OSError as error:
            raise InvalidInput(f"{path.name}: {error.strerror or error}") from error
        with file, disk_errors(copy):
            scratch.mkdir(parents=True, exist_ok=True)
            _copy(file, copy, bounds.unpacked_bytes)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def discard_copies(scratch: Path) -> None:
    """Remove what :func:`private_copy` left where the process that read it was killed."""
    for copy in scratch.glob(f"{_COPY}.*"):
        copy.unlink(missing_ok=True)


def _copy(file: BinaryIO, copy: Path, most: int) -> None:
    size = 0
    with copy.open("wb") as out:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise TooLarge(f"the manifest has more than {most:,} bytes")
            out.write(chunk)
