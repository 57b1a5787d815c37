"""Which files of a folder are pictures of people and which are no data, for service and training.

Folders as people have them hold more than crops: hidden folders of tools, thumbnails that a network
drive makes, lists, pictures of kinds nobody reads. Nothing of it vanishes: what is not a picture to
read is yielded with the reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

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


Follow = Callable[[Path], str | None]
"""Says of a link to a folder why it must not be followed, None where it may be."""


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


def walk(root: Path, refuse: Follow = lambda _link: None) -> Iterator[Path | LeftOut]:
    """Find every file below a folder, in the order of the paths.

    Links to folders are followed, but for one that leads back to a folder above it. Behind a
    link, further links are followed only to folders that were not read yet: so the work stays
    bounded, however links are knotted.

    Args:
        root: the folder; its own name is not judged.
        refuse: says which links to folders must not be followed.

    Yields:
        A picture file, or what is left out and why. A hidden or generated folder is one entry.
    """
    first = _Place(root, None, _key(root.stat()), behind_link=False)
    read = {first.key}
    waiting: list[_Place | _Leaf] = list(_children(first))
    while waiting:
        place = waiting.pop()
        found = _resolve(place, read, refuse) if isinstance(place, _Leaf) else place
        if isinstance(found, _Place):
            read.add(found.key)
            waiting += _children(found)
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
    """What a folder holds, before anybody looked at it; or a folder that cannot be read."""

    path: Path
    place: _Place
    failure: str | None = None


def _children(place: _Place) -> list[_Place | _Leaf]:
    """In reverse order, because the last one is taken first."""
    try:
        paths = sorted(place.path.iterdir(), reverse=True)
    except OSError as error:
        return [_Leaf(place.path, place, error.strerror or str(error))]
    return [_Leaf(path, place) for path in paths]


def _resolve(leaf: _Leaf, read: set[tuple[int, int]], refuse: Follow) -> _Place | Path | LeftOut:
    if leaf.failure is not None:
        return LeftOut(leaf.path, leaf.failure, is_error=True)
    reason = no_data(leaf.path.name)
    try:
        is_link = leaf.path.is_symlink()
        state = leaf.path.stat()
    except OSError as error:
        failure = error.strerror or str(error)
        return LeftOut(leaf.path, reason or failure, is_error=reason is None)
    if not stat.S_ISDIR(state.st_mode):
        return _file(leaf.path, state)
    if reason is not None:
        return LeftOut(leaf.path, reason)
    return _folder(leaf, _key(state), is_link, read, refuse)


def _file(path: Path, state: os.stat_result) -> Path | LeftOut:
    if (judged := not_a_picture(path.name)) is not None:
        return replace(judged, path=path)
    if stat.S_ISREG(state.st_mode):
        return path
    return LeftOut(path, "not a plain file", is_other=True)


def _folder(
    leaf: _Leaf, key: tuple[int, int], is_link: bool, read: set[tuple[int, int]], refuse: Follow
) -> _Place | LeftOut:
    behind_link = leaf.place.behind_link
    if is_link:
        if leaf.place.is_below(key):
            return LeftOut(leaf.path, "a link back to a folder above it")
        if behind_link and key in read:
            return LeftOut(leaf.path, "a link to a folder that is read already")
        if reason := refuse(leaf.path):
            return LeftOut(leaf.path, reason, is_error=True)
        behind_link = True
    return _Place(leaf.path, leaf.place, key, behind_link)


def _key(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
