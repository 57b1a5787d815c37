"""Threads that run while something else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(*loops: Callable[[threading.Event], object]) -> Iterator[None]:
    """Run loops in separate threads while the block runs.

    Args:
        loops: each receives an event, and ends soon after it is set.
    """
    over = threading.Event()
    threads = [threading.Thread(target=loop, args=(over,), daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
