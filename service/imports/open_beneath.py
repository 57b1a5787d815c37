"""Open files beneath a folder without ever following a link out of it.

Checking a path first and opening it later is not safe, because a folder may be replaced by a link
in between. Here opening is the check: each step goes from one open folder to the next and follows
no link, so every opened file lies beneath the folder. (Linux calls this RESOLVE_BENEATH.)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from service.errors import InvalidInput
from service.ingest.picture_files import Entry, listed

T = TypeVar("T")

# With O_PATH, a folder can be passed through without the right to list it.
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
# Non-blocking, because opening a pipe would wait for a writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_LINKED = frozenset({errno.ELOOP, errno.ENOTDIR})
_LONGEST = 4096  # path length as on Linux; the cost grows with the square of a path's depth


class OpenFolder:
    """A folder held open until :meth:`close`.

    Args:
        path: the folder, without symbolic links.

    Attributes:
        path: the folder.

    Raises:
        OSError: it cannot be opened, or has become a link.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        top = os.open(path.anchor, _STEP)
        try:
            with _steps(top, path.parts[1:]) as folder:
                self._descriptor = os.dup(folder)
        finally:
            os.close(top)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the folder."""
        os.close(self._descriptor)

    def at(self, parts: Sequence[str], act: Callable[[str, int], T]) -> T:
        """Call a function on a path beneath this folder.

        Args:
            parts: components of the path; empty for this folder itself.
            act: takes the last component and the descriptor of its folder, as ``dir_fd``.

        Returns:
            The function's return value.

        Raises:
            OSError: a component on the way is not a folder, or is a link; also if ``act`` raises.
            InvalidInput: the path contains ``..``.
        """
        if ".." in parts:
            raise InvalidInput("'..' is not allowed")
        with _steps(self._descriptor, parts[:-1]) as folder:
            return act(parts[-1] if parts else ".", folder)


@contextmanager
def _steps(start: int, names: Sequence[str]) -> Iterator[int]:
    """Open a folder, reached from another one without following a link."""
    at = start
    try:
        for name in names:
            step = os.open(name, _STEP, dir_fd=at)
            if at != start:
                os.close(at)
            at = step
        yield at
    finally:
        if at != start:
            os.close(at)


def open_plain(name: str, folder: int) -> BinaryIO:
    """Open a regular file without blocking.

    Args:
        name: its name in the folder.
        folder: descriptor of the folder.

    Returns:
        The file.

    Raises:
        InvalidInput: it is a folder, a pipe, a device or a socket.
        OSError: it is a link, or cannot be opened.
    """
    # Checked before it is opened, because some devices act on being opened.
    _require_plain(os.stat(name, dir_fd=folder, follow_symlinks=False))
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        _require_plain(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def look(name: str, folder: int) -> Entry:
    """What a name refers to. Args: see :func:`open_plain`. Raises OSError: a link, or missing."""
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return Entry.of(name, state)


def entries(name: str, folder: int, most: int) -> list[Entry]:
    """List a folder.

    Args:
        name: name of the folder.
        folder: descriptor of its parent folder.
        most: list at most one entry more than this.

    Returns:
        The entries in any order; links are not followed.

    Raises:
        OSError: it is a link, or cannot be listed.
    """
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        with os.scandir(descriptor) as found:
            return list(islice(listed(found), most + 1))
    finally:
        os.close(descriptor)


def is_linked(error: OSError) -> bool:
    """Whether opening failed because of a link, or a file in place of a folder."""
    return error.errno in _LINKED


def require_short(path: Path) -> None:
    """Check the length of a path. Raises OSError: it is longer than the system allows."""
    if len(os.fsencode(path)) >= _LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _require_plain(state: os.stat_result) -> None:
    if stat.S_ISLNK(state.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(state.st_mode):
        raise InvalidInput("not a regular file")
