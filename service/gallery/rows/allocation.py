"""Memory for many embeddings, taken from the system only where it is used."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray


def room_for(rows: int, dimension: int) -> NDArray[np.float32]:
    """Memory for embeddings, which costs nothing before it is used.

    NumPy's own asks for huge pages, and where memory is in pieces the system spends more time on
    making those than reading takes.

    Args:
        rows: M, at least one.
        dimension: D.

    Returns:
        (M, D) float32, zeros.

    Raises:
        MemoryError: the system has none left.
    """
    try:
        memory = mmap.mmap(-1, 4 * rows * dimension, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {rows} embeddings of {dimension} numbers") from error
    return np.frombuffer(memory, np.float32).reshape(rows, dimension)


def take_memory(rows: NDArray[np.float32]) -> None:
    """Have the system hand out memory now, from a thread that has nothing else to do.

    Under a virtual machine a page's first touch may cost more than reading what goes there.

    Args:
        rows: part of what :func:`room_for` gave; set to zeros.
    """
    rows.reshape(-1)[:: mmap.PAGESIZE // rows.itemsize] = 0.0
