"""Thread pools for blocking work, one per kind of work so that kinds cannot block each other.

asyncio's default pool is small and shared: a few writers waiting for one gallery would stop every
search and every probe. So each kind of work has its own pool, and a lint rule forbids
``asyncio.to_thread`` in this package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from service.machine.background import Report, guarded
from service.machine.fair_threads import ThreadQuota, Turns
from service.machine.processors import available

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

_LEAST_READS = 8
_MOST_WAITING = 1 << 10  # reads per client; the limit on requests takes effect earlier
_HEAVY_WAITING = 16
_HEAVY_WAITING_IN_ALL = 64
_WRITES = 16
_BACKGROUND = 8
_BOOKKEEPING = 4


class Threads:
    """A thread pool for blocking calls.

    Args:
        name: prefix of the threads' names.
        count: number of threads; further calls wait for a free one.
        report: counts failures of background calls.
        pool: runs the calls instead; for tests that control when a call begins and ends.
        turns: shares the threads between clients; by default one client gets at most half of them.
    """

    def __init__(
        self,
        name: str,
        count: int,
        report: Report,
        pool: Executor | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.name = name
        self.count = count
        self.report = report
        self.turns = turns or Turns(name, _halves(count, _MOST_WAITING, _MOST_WAITING))
        self._pool = pool or ThreadPoolExecutor(count, name)

    async def run(
        self,
        call: Callable[_Arguments, _Answer],
        /,
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Answer:
        """Call a function in one of the threads, with the caller's context variables.

        Args:
            call: a function that may block for a long time.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its return value. Its exceptions are raised here.
        """
        bound = partial(copy_context().run, call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, bound)

    def of(self, client: str) -> ClientThreads:
        """These threads for long calls of one client, which can never occupy all of them.

        Args:
            client: the client to charge.
        """
        return ClientThreads(self, client)

    def start(self, task: str, call: Callable[[], object]) -> None:
        """Start background work in one of the threads.

        Args:
            task: name of the work in the log and in the metrics.
            call: the work; a failure is logged and counted.
        """
        self._pool.submit(guarded, task, call, self.report)

    def close(self) -> None:
        """Wait for running calls, then end the threads."""
        self._pool.shutdown()


class ClientThreads:
    """A thread pool as one client may use it.

    Args:
        threads: the pool.
        client: the client to charge.
    """

    def __init__(self, threads: Threads, client: str) -> None:
        self._threads = threads
        self._client = client

    async def run(
        self,
        call: Callable[_Arguments, _Answer],
        /,
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Answer:
        """Call a function in one of the threads when it is the client's turn.

        Args:
            call: a function that may block for a long time.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            Its return value. Its exceptions are raised here.

        Raises:
            TooManyRequests: too many calls of this client are waiting.
            Overloaded: too many calls are waiting.
            Unavailable: the client has disconnected.
        """
        async with self._threads.turns.taken(self._client):
            return await self._threads.run(call, *args, **kwargs)


class Executors:
    """Every thread pool of one service.

    Attributes:
        reads: light searches, listings, stored pictures, counts: work that never waits for a
            writer. One client gets at most half of the threads.
        heavy: expensive searches, as :mod:`service.search.cost` estimates. They leave one processor
            to all other work, and one client gets at most half of the threads.
        writes: changes to the crops and options of galleries; they wait for their gallery.
        background: long work on whole galleries: snapshots, restores, model switches, retention.
        bookkeeping: jobs, keys, the audit log, uploaded files, the disk probe: short work that
            never waits for a gallery.

    Args:
        report: counts failures of background calls.
    """

    def __init__(self, report: Report) -> None:
        self.reads = Threads("read", max(_LEAST_READS, available() + 4), report)
        self.heavy = _heavy(max(1, available() - 1), report)
        self.writes = Threads("write", _WRITES, report)
        self.background = Threads("background", _BACKGROUND, report)
        self.bookkeeping = Threads("bookkeeping", _BOOKKEEPING, report)

    async def close(self) -> None:
        """Wait for running calls, then end every pool."""
        # In a thread, because a running call may still need the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    def _end(self) -> None:
        with ExitStack() as closing:
            for threads in (
                self.bookkeeping,
                self.background,
                self.writes,
                self.heavy,
                self.reads,
            ):
                closing.callback(threads.close)


def _heavy(count: int, report: Report) -> Threads:
    quota = _halves(count, _HEAVY_WAITING, _HEAVY_WAITING_IN_ALL)
    return Threads("heavy", count, report, turns=Turns("heavy searches", quota))


def _halves(count: int, waiting: int, waiting_in_all: int) -> ThreadQuota:
    """One client gets at most half of the threads, and at least one."""
    return ThreadQuota(count, max(1, count // 2), waiting, waiting_in_all)
