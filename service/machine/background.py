"""Work that nobody waits for: whatever goes wrong in it is said, and it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

log = logging.getLogger(__name__)

Report: TypeAlias = Callable[[str], object]
"""Takes the name of a background task that has failed once more."""


class _Runs(Protocol):
    """A group of threads; see :class:`service.machine.executors.Threads`."""

    async def run(self, call: Callable[[], None], /) -> None: ...


def guarded(task: str, call: Callable[[], object], report: Report) -> bool:
    """Call, and turn any exception into a log entry and a report.

    Args:
        task: names the work; one of a fixed set, since it labels a metric.
        call: the work.
        report: counts the failure.

    Returns:
        Whether the call succeeded.
    """
    try:
        call()
    except Exception:
        log.exception("background task %r failed; it goes on", task)
        report(task)
        return False
    return True


class Repeating:
    """Does something now and again in a thread, until it is closed.

    Args:
        task: names the work in the log and in the metrics.
        call: the work; an exception ends one turn, never the repetition.
        seconds: pause between two turns.
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
        """Begin the first turn in the background; needs a running event loop."""
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Stop; a turn that has begun is finished first."""
        self._ending.set()
        if self._running is not None:
            # shielded: a caller who gives up waiting must not interrupt the turn
            await asyncio.shield(self._running)

    async def _run(self) -> None:
        while not self._ending.is_set():
            await self._threads.run(self._turn)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._seconds)

    def _turn(self) -> None:
        guarded(self._name, self._call, self._report)
