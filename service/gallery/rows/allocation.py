"""Memory for many embeddings, taken from the system only where it is used."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray


def room_for(rows: int, dimension: int) -> NDArray[np.float32]:
    """Allocate room for embeddings that takes no memory until it is used.

    NumPy's own allocation requests huge pages. If memory is fragmented, the system spends more time
    on making them than reading the embeddings takes.

    Args:
        rows: M, at least one.
        dimension: D.

    Returns:
        (M, D) float32, zeros.

    Raises:
        MemoryError: the system has no memory left.
    """
    try:
        memory = mmap.mmap(-1, 4 * rows * dimension, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {rows} embeddings of length {dimension}") from error
    return np.frombuffer(memory, np.float32).reshape(rows, dimension)


def take_memory(rows: NDArray[np.float32]) -> None:
    """Make the system provide memory now, from a thread that has nothing else to do.

    In a virtual machine, the first access to a page may take longer than reading its content.

    Args:
        rows: part of the result of :func:`room_for`; set to zeros.
    """
    rows.reshape(-1)[:: mmap.PAGESIZE // rows.itemsize] = 0.0
