"""Which files of a folder are pictures of people and which are no data, for service and training.

Folders as people have them hold more than crops: hidden folders of tools, thumbnails that a network
drive makes, lists, pictures of kinds nobody reads. Nothing of it vanishes: what is not a picture to
read is yielded with the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, Self

from service.errors import InvalidInput

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff"}
)
"""Files that are read as pictures; what is in them is told by content."""

UNREAD = frozenset(
    {
        *(".gif", ".apng", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".tga", ".pcx", ".sgi", ".ras", ".xbm", ".xpm"),
        *(".ico", ".svg", ".psd", ".exr", ".hdr", ".dds", ".raw", ".dng", ".cr2", ".cr3", ".nef"),
        *(".arw", ".orf", ".rw2", ".mp4", ".avi", ".mov", ".mkv", ".mjpeg", ".mjpg"),
    }
)
"""Pictures and films of kinds that are not read; they are counted and named."""

# Compared in lower case. A folder of one of these names is data only when it is named itself.
_GENERATED = frozenset(
    {
        *("__macosx", "desktop.ini", "thumbs.db", "ehthumbs.db", "icon\r"),
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@tmp", "@recently-snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found"),
        *("thumbnails", "thumbnail", "thumbs", "thumb", "_thumbs", "_thumbnails", "_thumb"),
        *("__thumbs", "@__thumb"),
        *("__pycache__", "node_modules"),
    }
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not used, and why.

    Attributes:
        path: the file, or a folder with all that is in it.
        reason: why.
        is_error: whether it should have been used.
        is_other: whether it is just a file of another kind beside the pictures.
    """

    path: Path
    reason: str
    is_error: bool = False
    is_other: bool = False


Kind = Literal["file", "folder", "link", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder holds under a name.

    Attributes:
        name: one component of a path.
        kind: what it is; ``other`` is a pipe, a device or a socket.
        key: tells it from every other file and folder of the machine.
    """

    name: str
    kind: Kind
    key: tuple[int, int]

    @classmethod
    def of(cls, name: str, state: os.stat_result) -> Self:
        """The entry of a name, by what the system says of it."""
        mode = state.st_mode
        kind: Kind = "other"
        if stat.S_ISREG(mode):
            kind = "file"
        elif stat.S_ISDIR(mode):
            kind = "folder"
        elif stat.S_ISLNK(mode):
            kind = "link"
        return cls(name, kind, (state.st_dev, state.st_ino))


def listed(found: Iterable[os.DirEntry[str]]) -> Iterator[Entry]:
    """The entries of a folder that is being listed, but for those that are gone since."""
    for one in found:
        with suppress(FileNotFoundError):
            yield Entry.of(one.name, one.stat(follow_symlinks=False))


class Tree(Protocol):
    """How the folders of a walk are listed, and which links are followed."""

    def entries(self, folder: Path) -> list[Entry]:
        """What a folder holds, links as links. Raises OSError, or InvalidInput with the reason."""
        ...

    def follow(self, link: Path) -> Entry:
        """What a link leads to. Raises OSError, or InvalidInput: it must not be followed."""
        ...


class _Plain:
    """The file system as it is; every link is followed."""

    def entries(self, folder: Path) -> list[Entry]:
        with os.scandir(folder) as found:
            return list(listed(found))

    def follow(self, link: Path) -> Entry:
        return Entry.of(link.name, link.stat())


def no_data(name: str) -> str | None:
    """Why a file or folder of some name is no data.

    Args:
        name: one component of a path.

    Returns:
        The reason, None where it may be data.
    """
    if name.startswith("."):
        return "hidden: its name starts with a dot"
    if name.lower() in _GENERATED:
        return "made by a program: thumbnails, a recycle bin or system files"
    return None


def not_a_picture(name: str) -> LeftOut | None:
    """Why a file is not read as a picture, judged by its name alone.

    Args:
        name: a path relative to where the data starts, with forward slashes.

    Returns:
        The file with the reason, None where it is to be read.
    """
    path = Path(name)
    suffix = path.suffix.lower()
    is_picture = suffix in SUFFIXES or suffix in UNREAD
    for part in path.parts if is_picture else path.parts[:-1]:
        if reason := no_data(part):
            return LeftOut(path, reason)
    if not is_picture:
        return LeftOut(path, "not an image file", is_other=True)
    if suffix in SUFFIXES:
        return None
    reason = f"{suffix} files are not read: convert them to JPEG, PNG, WebP, BMP or TIFF"
    return LeftOut(path, reason, is_error=True)


def walk(root: Path, tree: Tree | None = None) -> Iterator[Path | LeftOut]:
    """Find every file below a folder, in the order of the paths.

    Links to folders are followed, but for one that leads back to a folder above it. Behind a
    link, further links are followed only to folders that were not read yet: so the work stays
    bounded, however links are knotted.

    Args:
        root: the folder; its own name is not judged.
        tree: lists folders and follows links; the file system as it is, if absent.

    Yields:
        A picture file, or what is left out and why. A hidden or generated folder is one entry.
    """
    tree = tree or _Plain()
    first = _Place(root, None, tree.follow(root).key, behind_link=False)
    read = {first.key}
    waiting: list[_Place | _Leaf] = list(_children(first, tree))
    while waiting:
        place = waiting.pop()
        found = _resolve(place, read, tree) if isinstance(place, _Leaf) else place
        if isinstance(found, _Place):
            read.add(found.key)
            waiting += _children(found, tree)
        else:
            yield found


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder on the way, and the folder it was reached from."""

    path: Path
    parent: _Place | None
    key: tuple[int, int]
    behind_link: bool

    def is_below(self, key: tuple[int, int]) -> bool:
        place: _Place | None = self
        while place is not None:
            if place.key == key:
                return True
            place = place.parent
        return False


@dataclass(frozen=True, slots=True)
class _Leaf:
    """What a folder holds, before anybody looked at it; or why a folder cannot be read."""

    path: Path
    place: _Place
    what: Entry | str


def _children(place: _Place, tree: Tree) -> list[_Place | _Leaf]:
    """In reverse order, because the last one is taken first."""
    try:
        found = tree.entries(place.path)
    except (OSError, InvalidInput) as error:
        return [_Leaf(place.path, place, _said(error))]
    found.sort(key=lambda entry: entry.name, reverse=True)
    return [_Leaf(place.path / entry.name, place, entry) for entry in found]


def _resolve(leaf: _Leaf, read: set[tuple[int, int]], tree: Tree) -> _Place | Path | LeftOut:
    if isinstance(leaf.what, str):
        return LeftOut(leaf.path, leaf.what, is_error=True)
    reason = no_data(leaf.path.name)
    found, is_link = leaf.what, leaf.what.kind == "link"
    if is_link:
        try:
            found = tree.follow(leaf.path)
        except (OSError, InvalidInput) as error:
            return LeftOut(leaf.path, reason or _said(error), is_error=reason is None)
    if found.kind != "folder":
        return _file(leaf.path, found.kind)
    if reason is not None:
        return LeftOut(leaf.path, reason)
    return _folder(leaf, found.key, is_link, read)


def _file(path: Path, kind: Kind) -> Path | LeftOut:
    if (judged := not_a_picture(path.name)) is not None:
        return replace(judged, path=path)
    if kind == "file":
        return path
    return LeftOut(path, "not a plain file", is_other=True)


def _folder(
    leaf: _Leaf, key: tuple[int, int], is_link: bool, read: set[tuple[int, int]]
) -> _Place | LeftOut:
    behind_link = leaf.place.behind_link
    if is_link:
        if leaf.place.is_below(key):
            return LeftOut(leaf.path, "a link back to a folder above it")
        if behind_link and key in read:
            return LeftOut(leaf.path, "a link to a folder that is read already")
        behind_link = True
    return _Place(leaf.path, leaf.place, key, behind_link)


def _said(error: OSError | InvalidInput) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
