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

from service.machine.background import Report, guarded
from service.machine.fair_threads import ThreadQuota, Turns
from service.machine.processors import available

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

_LEAST_READS = 8
_MOST_WAITING = 1 << 10  # reads of one client: how many requests there are bounds them sooner
_HEAVY_WAITING = 16
_HEAVY_WAITING_IN_ALL = 64
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
        turns: shares the threads out between clients; by default one has half of them at most.
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

    def of(self, client: str) -> ClientThreads:
        """These threads for one client's calls that may take long: it cannot have all of them.

        Args:
            client: who pays.
        """
        return ClientThreads(self, client)

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


class ClientThreads:
    """A group of threads as one client may use it.

    Args:
        threads: the group.
        client: who pays.
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
        """Call in one of the threads, once it is the client's turn.

        Args:
            call: blocks, perhaps for long.
            args: its arguments.
            kwargs: its keyword arguments.

        Returns:
            What it returns; what it raises is raised here.

        Raises:
            TooManyRequests: too many calls of this client wait already.
            Overloaded: too many calls wait already.
            Unavailable: the client has left.
        """
        async with self._threads.turns.taken(self._client):
            return await self._threads.run(call, *args, **kwargs)


class Executors:
    """Every group of threads of one service.

    Attributes:
        reads: light searches, listings, stored pictures, counts: work that never waits for a
            writer. One client has half of the threads at most.
        heavy: searches that cost much, by :mod:`service.search.cost`. They leave a processor to
            all other work, and one client has half of the threads at most.
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
        self.heavy = _heavy(max(1, available() - 1), report)
        self.writes = Threads("write", _WRITES, report)
        self.background = Threads("background", _BACKGROUND, report)
        self.bookkeeping = Threads("bookkeeping", _BOOKKEEPING, report)

    async def close(self) -> None:
        """Wait for the calls that have begun, then end every group."""
        # In a thread: a call that is under way may still need the event loop.
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
    share = _halves(count, _HEAVY_WAITING, _HEAVY_WAITING_IN_ALL)
    return Threads("heavy", count, report, turns=Turns("heavy searches", share))


def _halves(count: int, waiting: int, waiting_in_all: int) -> ThreadQuota:
    """One client has half of the threads at most, and at least one."""
    return ThreadQuota(count, max(1, count // 2), waiting, waiting_in_all)
