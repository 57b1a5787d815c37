"""How long the stages of one request took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures named stages and tells an observer; a stage entered twice adds up.

    Args:
        observe: called with a stage's name and its seconds each time one ends well.
    """

    def __init__(self, observe: Callable[[str, float], object]) -> None:
        self._observe = observe
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as the named stage."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._observe(name, seconds)

    def took_ms(self) -> dict[str, float]:
        """Milliseconds of every stage so far, and the ``total`` since construction."""
        total = time.perf_counter() - self._start
        stages = {**self._seconds, "total": total}
        return {name: round(seconds * 1000, 3) for name, seconds in stages.items()}
