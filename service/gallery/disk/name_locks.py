"""One lock per gallery name, whichever object represents the gallery at the moment."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary


class NameLocks:
    """Locks by name; unused locks are forgotten. Safe to call from several threads.

    Creating, replacing and deleting a gallery takes the same lock as writing to it, so these never
    overlap, and none of them waits for another gallery.
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
        """All names whose lock is in use."""
        with self._finding:
            return set(self._locks)
