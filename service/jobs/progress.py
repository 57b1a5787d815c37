"""How far a running job has come."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from service.jobs.base import ItemError
from service.jobs.texts import cut, storable

MAX_REASONS = 100_000
MAX_NOTED = 8 << 20
"""Characters of the item errors of one job, reasons included."""
_MAX_TEXT = 1000
_WINDOW = 30.0  # seconds the rate looks back


@dataclass(slots=True)
class Progress:
    """Counts of one run; a runner writes, any thread reads.

    Attributes:
        total: how many items there will be, where known.
        errors: items that failed.
    """

    total: int | None = None
    errors: int = 0
    _noted: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _unwritten: list[ItemError] = field(default_factory=list)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._samples.append((time.monotonic(), 0))

    def count(self, outcome: str, n: int) -> None:
        """Count items that met the same outcome."""
        with self._lock:
            self._counts[outcome] += n
            self._sample()

    def fail(self, item: str, reason: str) -> None:
        """Count an item that failed; beyond the first 100,000, or 8 MiB, only their number."""
        error = ItemError(cut(storable(item), _MAX_TEXT), cut(storable(reason), _MAX_TEXT))
        with self._lock:
            self._counts["failed"] += 1
            self.errors += 1
            self._noted += len(error.item) + len(error.reason)
            if self.errors <= MAX_REASONS and self._noted <= MAX_NOTED:
                self._unwritten.append(error)
            self._sample()

    def counts(self) -> dict[str, int]:
        """Items by outcome."""
        with self._lock:
            return dict(self._counts)

    def rate(self) -> float:
        """Items a second over the last half minute."""
        with self._lock:
            (start, before), now = self._samples[0], time.monotonic()
            return (self._counts.total() - before) / max(now - start, 1e-3)

    def take_errors(self) -> list[ItemError]:
        """The failed items nobody has taken yet."""
        with self._lock:
            taken, self._unwritten = self._unwritten, []
            return taken

    def put_back(self, errors: list[ItemError]) -> None:
        """Return what could not be written."""
        with self._lock:
            self._unwritten = errors + self._unwritten

    def _sample(self) -> None:
        now = time.monotonic()
        if now - self._samples[-1][0] < 1.0:
            return
        self._samples.append((now, self._counts.total()))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
            self._samples.popleft()
