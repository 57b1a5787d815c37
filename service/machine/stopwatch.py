"""Measure how long the stages of one request take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures named stages and reports them to an observer.

    The times of a stage that is entered several times add up.

    Args:
        observe: called with the name and seconds of a stage each time it ends without an error, or
            once for a stage that is measured in parts.
    """

    def __init__(self, observe: Callable[[str, float], object]) -> None:
        self._observe = observe
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as the named stage, and report it."""
        before = self._seconds.get(name, 0.0)
        with self.part(name):
            yield
        self._observe(name, self._seconds[name] - before)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure the block as a part of the named stage, which :meth:`tell` reports."""
        start = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - start

    def tell(self, name: str) -> None:
        """Report a stage whose parts have all ended."""
        self._observe(name, self._seconds.get(name, 0.0))

    def took_ms(self) -> dict[str, float]:
        """Milliseconds per stage so far, and the ``total`` since construction."""
        total = time.perf_counter() - self._start
        stages = {**self._seconds, "total": total}
        return {name: round(seconds * 1000, 3) for name, seconds in stages.items()}
