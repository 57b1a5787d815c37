"""Where the embeddings of a gallery live while it is served: in memory, or in mapped files."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from service.machine.durable import disk_errors

Float32s = NDArray[np.float32]

_READ_AHEAD_PAGES = 256
"""Longer runs of rows are read one after the other, which the system notices by itself."""


class _File(mmap.mmap):
    """A mapped file."""


class Allocation(Protocol):
    """Provides room for many embeddings."""

    def room_for(self, rows: int, dimension: int) -> Float32s:
        """Allocate room for embeddings.

        Args:
            rows: M, at least one.
            dimension: D.

        Returns:
            (M, D) float32, zeros.

        Raises:
            MemoryError: the system has no memory left.
            StorageFull: the disk has no room.
            Unavailable: the disk fails.
        """
        ...

    def prepare(self, rows: Float32s) -> None:
        """Take what the first access would take time for, in a thread with nothing else to do.

        Args:
            rows: part of the result of :meth:`room_for`; nothing was written to it yet.
        """
        ...


class InMemory(Allocation):
    """Anonymous memory, which takes no room until it is used.

    NumPy's own allocation requests huge pages. If memory is fragmented, the system spends more time
    on making them than reading the embeddings takes.
    """

    @override
    def room_for(self, rows: int, dimension: int) -> Float32s:
        try:
            memory = mmap.mmap(
                -1, 4 * rows * dimension, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            )
        except OSError as error:
            raise MemoryError(f"no memory for {rows} embeddings of length {dimension}") from error
        return np.frombuffer(memory, np.float32).reshape(rows, dimension)

    @override
    def prepare(self, rows: Float32s) -> None:
        # In a virtual machine, the first access to a page may take longer than reading its content.
        rows.reshape(-1)[:: mmap.PAGESIZE // rows.itemsize] = 0.0


@dataclass(frozen=True, slots=True)
class OnDisk(Allocation):
    """Files without a name, of which the system keeps in memory what fits and is read.

    A file disappears with the process, however it ends. Its room is taken from the disk at once: a
    mapped file that finds no room when it is written to ends the process.

    Attributes:
        folder: whose file system the files are on.
        from_bytes: smaller rooms are in memory; every search would read all of them.
    """

    folder: Path
    from_bytes: int = 64 << 20

    @override
    def room_for(self, rows: int, dimension: int) -> Float32s:
        size = 4 * rows * dimension
        if size < self.from_bytes:
            return IN_MEMORY.room_for(rows, dimension)
        with disk_errors(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            mapped = _File(file.fileno(), size)
        return np.frombuffer(mapped, np.float32).reshape(rows, dimension)

    @override
    def prepare(self, rows: Float32s) -> None:
        """Nothing: what is written in advance would be written to the disk twice."""


IN_MEMORY = InMemory()


def rows_at(rows: Float32s, slots: NDArray[np.int64]) -> Float32s:
    """A copy of some rows, (N, D); see :func:`read_ahead`."""
    read_ahead(rows, slots)
    some: Float32s = rows[slots]
    return some


def read_ahead(rows: Float32s, slots: NDArray[np.int64]) -> None:
    """Have some rows of a mapped file read now, all at once; does nothing for rows in memory.

    Otherwise each row would be read when it is first needed, one after the other, and with it a
    piece of the file around it, which takes the place of rows that are needed.

    Args:
        rows: (S, D) float32, contiguous, from the start of a room.
        slots: (N,) rows that will be read.
    """
    owner = _owner(rows)
    if not isinstance(owner, _File) or not len(slots):
        return
    width, ascending = rows.strides[0], np.sort(slots)
    starts = ascending * width // mmap.PAGESIZE
    ends = ((ascending + 1) * width - 1) // mmap.PAGESIZE + 1
    breaks = np.flatnonzero(starts[1:] > ends[:-1])
    for start, end in zip(starts[[0, *(breaks + 1)]], ends[[*breaks, -1]], strict=True):
        if end - start <= _READ_AHEAD_PAGES:
            length = min(int(end) * mmap.PAGESIZE, len(owner)) - int(start) * mmap.PAGESIZE
            owner.madvise(mmap.MADV_WILLNEED, int(start) * mmap.PAGESIZE, length)


def _owner(rows: Float32s) -> object:
    """What holds the memory of an array."""
    owner: object = rows
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner.obj if isinstance(owner, memoryview) else owner
