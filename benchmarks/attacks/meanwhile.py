"""Threads that go on for as long as something else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(*loops: Callable[[threading.Event], object]) -> Iterator[None]:
    """Let loops run in threads of their own while the block runs.

    Args:
        loops: each is given an event, and ends soon after that is set.
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
