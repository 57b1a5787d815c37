"""Background work: failures are logged and counted, and the work continues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

log = logging.getLogger(__name__)

Report: TypeAlias = Callable[[str], object]
"""Called with the name of a background task each time it fails."""


class _Runs(Protocol):
    """A thread pool; see :class:`service.machine.executors.Threads`."""

    async def run(self, call: Callable[[], None], /) -> None: ...


def guarded(task: str, call: Callable[[], object], report: Report) -> bool:
    """Call a function; log and report any exception instead of raising it.

    Args:
        task: name of the work, from a fixed set because it labels a metric.
        call: the work.
        report: called with the name if the work fails.

    Returns:
        Whether the call succeeded.
    """
    try:
        call()
    except Exception:
        log.exception("background task %r failed; continuing", task)
        report(task)
        return False
    return True


class Repeating:
    """Repeats a call in a thread until it is closed.

    Args:
        task: name of the work in the log and in the metrics.
        call: the work; an exception ends one run, never the repetition.
        seconds: pause between two runs.
        threads: run the work.
        report: counts failures.
    """

    def __init__(
        self, task: str, call: Callable[[], object], seconds: float, threads: _Runs, report: Report
    ) -> None:
        self._name = task
        self._call = call
        self._seconds = seconds
        self._threads = threads
        self._report = report
        self._ending = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the first run in the background; needs a running event loop."""
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop after the current run."""
        self._ending.set()
        if self._running is not None:
            # Shielded, so that a caller who stops waiting does not interrupt the run.
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        while not self._ending.is_set():
            await self._threads.run(self._run_once)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._seconds)

    def _run_once(self) -> None:
        guarded(self._name, self._call, self._report)
