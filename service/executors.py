"""Threads for blocking work, in groups that cannot hold each other up.

asyncio's own pool is small and shared by everything: a few writers that wait for one gallery would
stop every search and probe of the service. So each kind of work has threads of its own, and the
lint rules keep ``asyncio.to_thread`` out of the package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from service.background import Report, guarded
from service.processors import available

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

_LEAST_READS = 8
_WRITES = 16
_BACKGROUND = 8
_BOOKKEEPING = 4


class Threads:
    """A group of threads for calls that block.

    Args:
        name: what the threads are called, followed by a number.
        count: how many there are; further calls wait for one of them.
        report: counts failures of calls that nobody waits for.
        pool: runs the calls instead; for tests that decide when a call begins and ends.
    """

    def __init__(self, name: str, count: int, report: Report, pool: Executor | None = None) -> None:
        self.name = name
        self.count = count
        self.report = report
        self._pool = pool or ThreadPoolExecutor(count, name)

    async def run(
        self,
        call: Callable[_Arguments, _Answer],
        /,
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Answer:
        """Call in one of the threads, with the context variables of the caller.

        Args:
            call: blocks, perhaps for long.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            What it returns; what it raises is raised here.
        """
        bound = partial(copy_context().run, call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, bound)

    def start(self, task: str, call: Callable[[], object]) -> None:
        """Let one of the threads do something that nobody waits for.

        Args:
            task: names the work in the log and in the metrics.
            call: the work; a failure is logged and counted.
        """
        self._pool.submit(guarded, task, call, self.report)

    def close(self) -> None:
        """Wait for the calls that have begun, and end the threads."""
        self._pool.shutdown()


class Executors:
    """Every group of threads of one service.

    Attributes:
        reads: searches, listings, stored pictures, counts: work that never waits for a writer.
        writes: changes to the crops and options of galleries; they wait for their gallery.
        background: what takes long and concerns whole galleries: snapshots, restores, model
            switches, retention.
        bookkeeping: jobs, keys, the audit log, received files, the disk probe: short work that
            never waits for a gallery.

    Args:
        report: counts failures of calls that nobody waits for.
    """

    def __init__(self, report: Report) -> None:
        self.reads = Threads("read", max(_LEAST_READS, available() + 4), report)
        self.writes = Threads("write", _WRITES, report)
        self.background = Threads("background", _BACKGROUND, report)
        self.bookkeeping = Threads("bookkeeping", _BOOKKEEPING, report)

    async def close(self) -> None:
        """Wait for the calls that have begun, then end every group."""
        # In a thread: a call that is under way may still need the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    def _end(self) -> None:
        with ExitStack() as closing:
            for threads in (self.bookkeeping, self.background, self.writes, self.reads):
                closing.callback(threads.close)
