"""A folder that is held open, and what is opened through it without ever leaving it.

A path that was checked and then opened may be another one by then: a folder is swapped for a link
in between. Here the check is the opening: each step goes from one open folder to the next and
follows no link, so whatever is opened lies beneath the folder.
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

# Where there is O_PATH, a folder needs no right to be listed to be passed through.
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
# Not blocking: a pipe would wait for a writer that never comes.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_LINKED = frozenset({errno.ELOOP, errno.ENOTDIR})
_LONGEST = 4096  # of a path, as Linux has it: a chain of folders costs the square of its length


class OpenFolder:
    """A folder held open until :meth:`close`.

    Args:
        path: without symbolic links.

    Attributes:
        path: as given.

    Raises:
        OSError: it cannot be opened, or is a link by now.
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
        """Let go of the folder."""
        os.close(self._descriptor)

    def at(self, parts: Sequence[str], act: Callable[[str, int], T]) -> T:
        """Do something in the folder that holds a name.

        Args:
            parts: the way to the name, from this folder; none means the folder itself.
            act: takes a name and the descriptor of its folder, as ``dir_fd``.

        Returns:
            What ``act`` returns.

        Raises:
            OSError: a folder on the way is none, or is a link; or what ``act`` raises.
            InvalidInput: the way climbs.
        """
        if ".." in parts:
            raise InvalidInput("'..' is refused")
        with _steps(self._descriptor, parts[:-1]) as folder:
            return act(parts[-1] if parts else ".", folder)


@contextmanager
def _steps(start: int, names: Sequence[str]) -> Iterator[int]:
    """The descriptor of a folder, reached from another one without following a link."""
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
    """Open a plain file, and wait for nothing.

    Args:
        name: in the folder.
        folder: its descriptor.

    Returns:
        The file.

    Raises:
        InvalidInput: it is a folder, a pipe, a device or a socket.
        OSError: it is a link, or cannot be opened.
    """
    # Looked at before it is opened: some devices act when they are.
    _require_plain(os.stat(name, dir_fd=folder, follow_symlinks=False))
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        _require_plain(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def look(name: str, folder: int) -> Entry:
    """What a name is. Args as :func:`open_plain`. Raises OSError: a link, or it is not there."""
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return Entry.of(name, state)


def entries(name: str, folder: int, most: int) -> list[Entry]:
    """What a folder holds.

    Args:
        name: of the folder.
        folder: the descriptor of the one it is in.
        most: how many entries are listed.

    Returns:
        At most one more than ``most``, in any order; links are not followed.

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
    """Whether an opening failed because of a link, or of a file where a folder is needed."""
    return error.errno in _LINKED


def require_short(path: Path) -> None:
    """Accept the length of a path. Raises OSError: it is longer than systems take."""
    if len(os.fsencode(path)) >= _LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _require_plain(state: os.stat_result) -> None:
    if stat.S_ISLNK(state.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(state.st_mode):
        raise InvalidInput("not a file")
