"""One lock for each gallery's name, whatever stands for the gallery at the moment."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class NameLocks:
    """Locks by name; one that nobody holds or keeps is forgotten. Safe for many threads.

    Creating, replacing and deleting a gallery takes the same lock as writing to it, so none of them
    meets another half way, and none waits for what happens to another gallery.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()
        self._finding = threading.Lock()

    def of(self, name: str) -> threading.RLock:
        """The lock of a name; one thread may take it twice."""
        with self._finding:
            lock = self._locks.get(name)
            if lock is None:
                lock = self._locks[name] = threading.RLock()
            return lock

    def names(self) -> set[str]:
        """Every name whose lock is in use."""
        with self._finding:
            return set(self._locks)
