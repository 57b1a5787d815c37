"""Reserve disk space for operations that must succeed even on a full disk.

Revoking a key and erasing a crop write to the disk too: a journal, an audit entry. A client that
fills the disk must not be able to prevent either.
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
"""Bytes reserved in a data folder: enough to erase the largest picture, 10 MB by default."""
ReserveUse = Literal["none", "shared", "whole"]
"""How much of a reserve an operation may use: ``shared`` to erase crops, ``whole`` to revoke keys.
``shared`` leaves the last part for ``whole``."""

_PART_OF_DISK = 8  # on a small disk the reserve takes at most one eighth
_LAST_PART = 4  # the last quarter of the reserve is for ``whole`` alone
_log = logging.getLogger(__name__)


class Reserve:
    """A file that occupies disk space; shortening it frees that space.

    One folder has one reserve; several processes and threads may use it.

    Args:
        path: the file; its folder may not exist yet.
        size: bytes to occupy, at most an eighth of the disk.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._seen = False  # whether this process has ever allocated it
        self._told = False

    def keep(self) -> bool:
        """Fill the reserve up to its size.

        Returns:
            Whether it is full now. Also True if the file cannot be created for a reason other than
            missing space, which is logged once.
        """
        with self._lock:
            try:
                wanted = self._wanted()
                if not self._seen or self._path.stat().st_size < wanted:
                    self._allocate(wanted)
                    self._seen = True
            except FileNotFoundError:
                return True  # a missing folder needs no reserve
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    return False
                self._tell(error)
        return True

    def give(self, use: ReserveUse, step: int | None = None) -> bool:
        """Free some of the reserve.

        Args:
            use: what the space is for.
            step: bytes to free; None frees all that this use may have.

        Returns:
            Whether any space was freed.
        """
        with self._lock:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return False
            try:
                size = os.fstat(descriptor).st_size
                floor = {"none": size, "shared": self._wanted() // _LAST_PART, "whole": 0}[use]
                left = floor if step is None else max(floor, size - step)
                if left >= size:
                    return False
                os.ftruncate(descriptor, left)
                os.fsync(descriptor)  # some file systems free the space only then
            except OSError:
                return False
            finally:
                os.close(descriptor)
        return True

    @contextmanager
    def given(self, use: ReserveUse) -> Iterator[bool]:
        """Free all that a use may have while a block runs; fill the reserve again afterwards.

        Yields:
            Whether any space was freed.
        """
        given = self.give(use)
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
                os.ftruncate(descriptor, before)  # free what was allocated before the failure
                raise
        finally:
            os.close(descriptor)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            _log.warning("%s: no space can be reserved on this disk: %s", self._path, error)
        self._told = True
