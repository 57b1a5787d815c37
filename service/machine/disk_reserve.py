"""Room on the disk that is kept for what must not fail when everything else has filled it.

Revoking a key and erasing a crop write, too: a journal, an entry of the audit log. A client that
fills the disk must not keep anybody from either.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

FILE = "reserve"
DATA_RESERVE = 16 << 20
"""Bytes kept in a data folder: enough to erase the largest picture, of 10 MB by default."""
ReserveUse = Literal["none", "shared", "whole"]
"""How much of a reserve a change may use. ``shared`` erases crops and leaves the last part to
``whole``, which revokes keys."""

_PART_OF_DISK = 8  # a reserve takes at most an eighth of a small disk
_LAST_PART = 4  # of which the last quarter is for ``whole`` alone
_log = logging.getLogger(__name__)


class Reserve:
    """A file whose only use is its size. Making it shorter gives its room to whoever needs it.

    It belongs to one folder and may be used by several processes and threads.

    Args:
        path: the file; its folder may not exist yet.
        size: how large it shall be, bytes; less on a disk of less than eight times that.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._seen = False  # whether its room was ever asked for by this process
        self._told = False

    def keep(self) -> bool:
        """Make it whole, unless it is.

        Returns:
            Whether it is whole now. True as well where no such file can be made for another reason
            than room: the log says so, once.
        """
        with self._lock:
            try:
                wanted = self._wanted()
                if not self._seen or self._path.stat().st_size < wanted:
                    self._allocate(wanted)
                    self._seen = True
            except FileNotFoundError:
                return True  # nothing is kept in a folder that is not there
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    return False
                self._tell(error)
        return True

    def give(self, share: ReserveUse, step: int | None = None) -> bool:
        """Give some of its room back to the disk.

        Args:
            share: what the room is for.
            step: how much, bytes; None for all that the share allows.

        Returns:
            Whether any was given.
        """
        with self._lock:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return False
            try:
                size = os.fstat(descriptor).st_size
                floor = {"none": size, "shared": self._wanted() // _LAST_PART, "whole": 0}[share]
                left = floor if step is None else max(floor, size - step)
                if left >= size:
                    return False
                os.ftruncate(descriptor, left)
                os.fsync(descriptor)  # some file systems give room back only then
            except OSError:
                return False
            finally:
                os.close(descriptor)
        return True

    @contextmanager
    def given(self, share: ReserveUse) -> Iterator[bool]:
        """Give all that the share allows, for the length of a block; then keep it again.

        Yields:
            Whether any was given.
        """
        given = self.give(share)
        try:
            yield given
        finally:
            self.keep()

    def _wanted(self) -> int:
        disk = os.statvfs(self._path.parent)
        return min(self._size, disk.f_blocks * disk.f_frsize // _PART_OF_DISK)

    def _allocate(self, wanted: int) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            try:
                os.posix_fallocate(descriptor, 0, wanted)
            except OSError:
                os.ftruncate(descriptor, before)  # what was taken on the way goes back
                raise
        finally:
            os.close(descriptor)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            _log.warning("%s: no room can be kept on this disk: %s", self._path, error)
        self._told = True
