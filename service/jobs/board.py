"""The job board: takes jobs, runs them, remembers them.

``<data>/jobs.sqlite3`` holds every job and the reasons of its failed items, ``<data>/jobs/`` what
they have received.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from service.errors import Conflict, ReidError
from service.jobs.base import (
    UNFINISHED,
    ItemError,
    Job,
    JobFilter,
    JobPage,
    Kind,
    Order,
    State,
)
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext, Runner
from service.jobs.memory import JobMemory
from service.jobs.notes import JobNotes
from service.jobs.runs import after_the_end, again, outcome_of
from service.jobs.scratch import Scratch
from service.jobs.shares import KEPT_BYTES, Shares
from service.jobs.table import JobTable
from service.jobs.turns import WORKERS, Turns
from service.machine.background import Report, guarded

log = logging.getLogger(__name__)

__all__ = ["Job", "JobBoard", "JobContext", "Runner"]

_KEPT_SECONDS = 7 * 24 * 3600.0
_KEPT_JOBS = 1000
_KEPT_TEXTS = 16 << 20  # characters of a gallery's ended jobs: item errors, results
_ONCE = frozenset({"cluster", "reembed"})  # two of them that wait and are equal are one
_MAX_CRASHES = 2


class JobBoard:
    """Runs jobs in the background, some at a time and one a gallery; safe to call from any thread.

    Args:
        data: the service's data folder.
        run: does a job of any kind; called in a worker thread.
        bridge: embeds and enrols for the runners.
        report: counts failures of the workers themselves.
        kept_bytes: of received files that one client may keep; see :mod:`service.jobs.shares`.
    """

    def __init__(
        self,
        data: Path,
        run: Runner,
        bridge: Bridge,
        report: Report,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._scratch = Scratch(data / "jobs")
        self._table = JobTable(data / "jobs.sqlite3")
        self._memory = JobMemory(self._table)
        self.notes = JobNotes(self._table, self._memory)
        self._run = run
        self._bridge = bridge
        self._report = report
        self._changed = threading.Condition(self._memory.lock)
        self._waiting: dict[str, Job] = {}
        self._turns = Turns()
        self._shares = Shares(data / "jobs", kept_bytes, self._give_way)
        self._workers: list[threading.Thread] = []
        self._closing = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up the unfinished jobs of the last run and begin to work.

        Args:
            loop: the event loop images are embedded on.
        """
        self._bridge.attach(loop)
        try:
            self._recover()
        except ReidError as error:  # searching must go on; the jobs wait for the next start
            log.warning("unfinished jobs are not resumed: %s", error)
        for number in range(WORKERS):
            worker = threading.Thread(target=self._work, name=f"job-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)

    def close(self, patience: float = 10.0) -> None:
        """Stop running jobs at their next safe point; they run again at the next start.

        Args:
            patience: seconds a runner gets to reach one.
        """
        with self._changed:
            self._closing = True
            for context in self._memory.live.values():
                context.stop()
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0.0))
        self._table.close()

    def submit(
        self,
        kind: Kind,
        gallery: str,
        spec: dict[str, Any],
        *,
        total: int | None = None,
        idempotency_key: str | None = None,
        owner: str | None = None,
    ) -> Job:
        """Take a job, durable on return.

        Args:
            kind: which runner does it.
            gallery: the gallery it works on.
            spec: what the runner needs to know; any JSON object.
            total: how many items there will be, where known.
            idempotency_key: asking again with the same key answers the job of the first time.
            owner: key id of the caller, where there are keys.

        Returns:
            The job.

        Raises:
            ReidError: as :meth:`place`.
        """
        return self.place(Order(kind, gallery, spec, total, idempotency_key, owner))

    def place(self, order: Order, received: Path | None = None) -> Job:
        """Take a job that comes with files, durable on return.

        Args:
            order: what is asked.
            received: a folder of :meth:`receiving`; becomes the job's scratch.

        Returns:
            The job; of clusterings and model changes the one that waits and is equal, if any.

        Raises:
            Conflict: the key came with another spec before.
            TooLarge: the spec is too long.
            TooManyRequests: the client, or the gallery, has used up its share.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        order = replace(order, asked=order.fingerprint)  # once: a spec may be long
        with self._changed:
            known = self._known(order)
            if known is not None:
                return known
            self._shares.check_waiting(order, self._waiting.values())
            job = Job(secrets.token_hex(8), order, "queued", time.time(), total=order.total)
            if received is not None:
                job = self._take(received, job)
            try:
                self._table.insert(job)
            except ReidError:
                self._drop(job.job_id)
                raise
            self._shares.keep(job)
            self._waiting[job.job_id] = job
            self._changed.notify()
            return job

    @contextmanager
    def receiving(self, order: Order | None = None, announced: int = 0) -> Iterator[Path]:
        """A folder to receive files in, removed at the end unless :meth:`place` took it.

        Args:
            order: the job they are for; without one nobody pays.
            announced: their bytes, 0 where nobody said.

        Raises:
            TooManyRequests: the client, or the gallery, has used up its share.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        with self._scratch.receiving() as folder:
            if order is None:
                yield folder
                return
            with self._changed:
                self._shares.check_waiting(order, self._waiting.values())
                self._shares.begin(folder, order.client, order.gallery, announced)
            try:
                yield folder
            finally:
                with self._changed:
                    self._shares.end(folder)

    def charge(self, folder: Path, size: int) -> None:
        """Take note of how many bytes were received in a folder of :meth:`receiving` so far.

        Raises:
            ReidError: as :meth:`receiving`.
        """
        with self._changed:
            self._shares.charge(folder, size)

    def get(self, job_id: str) -> Job:
        """One job at this moment. Raises NotFound."""
        return self._memory.get(job_id)

    def list(self, gallery: str | None, state: State | None, limit: int | None = None) -> list[Job]:
        """Jobs, newest first.

        Args:
            gallery: of this gallery only.
            state: in this state only.
            limit: at most this many; None for all.
        """
        galleries = None if gallery is None else frozenset({gallery})
        return self._memory.newest(JobFilter(galleries, state), limit)

    def page(self, where: JobFilter, limit: int, cursor: str | None = None) -> JobPage:
        """Part of the jobs that pass a filter, newest first, and the cursor of the next part.

        Args:
            where: the filter.
            limit: at most this many, >= 1.
            cursor: of the part before; None for the first.

        Raises:
            InvalidInput: a broken cursor.
        """
        return self._memory.page(where, limit, cursor)

    def keeping_files(self, gallery: str) -> tuple[str, ...]:
        """Ids of a gallery's jobs that still keep what they received; it may hold its crops."""
        jobs = self.list(gallery, None)
        return tuple(job.job_id for job in jobs if self._scratch.holds_files(job.job_id))

    def forget(self, gallery: str) -> int:
        """Forget every job of a gallery that was deleted, with all that it keeps.

        Those that run leave at their next safe point, and nothing is left of them either.

        Returns:
            How many jobs.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        with self._changed:
            gone = self._table.forget(gallery)
            for job_id in gone:
                self._waiting.pop(job_id, None)
                context = self._memory.live.get(job_id)
                if context is None:
                    self._drop(job_id)
                else:
                    context.cancel()  # its folder goes once it no longer reads it
            self._changed.notify_all()
        self._table.clean_soon()
        return len(gone)

    @property
    def waiting(self) -> int:
        """How many jobs wait for their turn."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._memory.live)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The items of a job that failed, in the order in which they did. Raises NotFound."""
        return self._memory.errors(job_id)

    def cancel(self, job_id: str) -> Job:
        """End a job for good; a running one ends at its next safe point.

        Args:
            job_id: a job that waits, runs or failed; one that is cancelled already stays so.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done.
            StorageFull: the disk is full.
        """
        with self._changed:
            job = self.get(job_id)
            if job.state == "done":
                raise Conflict(f"job {job_id} is done")
            context = self._memory.live.get(job_id)
            if context is not None:
                self._table.save(replace(job, cancelling=True))
                context.cancel()
            elif job.state != "cancelled":
                job = replace(job, state="cancelled", finished=time.time(), kept=0)
                self._memory.save(job)
                self._waiting.pop(job_id, None)
                self._drop(job_id)
        return job

    def resume(self, job_id: str) -> Job:
        """Run a failed job again from its start; one that waits or runs goes on.

        Args:
            job_id: the job.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done, was cancelled, or no longer has what it received.
            TooManyRequests: its client, or its gallery, has too many jobs that wait.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
        """
        with self._changed:
            job = self.get(job_id)
            if job.state in UNFINISHED:
                return job
            if job.state != "failed":
                raise Conflict(f"job {job_id} is {job.state}: only a failed job can be resumed")
            if not job.resumable:
                raise Conflict(f"job {job_id} no longer has what it received: send it again")
            self._shares.check_waiting(job.order, self._waiting.values())
            job = again(job)
            self._memory.save(job)
            self._shares.keep(job)
            self._waiting[job_id] = job
            self._changed.notify()
            return job

    def _known(self, order: Order) -> Job | None:
        """The job that was asked for before, where an order asks for it again."""
        if order.idempotency_key is not None:
            known = self._table.of_key(order)
            if known is not None:
                return self._same(known, order)
        if order.kind in _ONCE:
            for job in self._waiting.values():
                same = (job.kind, job.gallery) == (order.kind, order.gallery)
                if same and job.order.fingerprint == order.fingerprint:
                    return job
        return None

    def _take(self, received: Path, job: Job) -> Job:
        """Make what was received a new job's; the caller has the lock."""
        size = self._scratch.size(received)
        self._shares.settle(received, size)
        self._scratch.take(received, job.job_id)
        return replace(job, kept=size)

    def _drop(self, job_id: str) -> None:
        """Remove what a job has received, and charge nobody for it any more."""
        self._scratch.discard(job_id)
        with self._changed:
            self._shares.forget(job_id)

    def _give_way(self, job_id: str) -> None:
        """Remove what a failed job has received: its client needs the room."""
        self._memory.save(replace(self.get(job_id), kept=0))
        self._scratch.discard(job_id)

    def _recover(self) -> None:
        for job in self._table.unfinished():
            job = after_the_end(job, _MAX_CRASHES)  # noqa: PLW2901 - the same job, a service later
            self._table.save(job)
            if job.state == "queued":
                self._waiting[job.job_id] = job
        self._prune()
        failed = [job for job in self.list(None, "failed") if job.resumable]
        self._scratch.sweep({job.job_id for job in failed} | set(self._waiting))
        for job in (*failed, *self._waiting.values()):
            self._shares.keep(replace(job, kept=self._scratch.size(self._scratch.of(job.job_id))))

    def _prune(self) -> None:
        before = time.time() - _KEPT_SECONDS
        for job_id in self._table.prune(before, _KEPT_JOBS, _KEPT_TEXTS):
            self._drop(job_id)

    def _work(self) -> None:
        while (context := self._next()) is not None:
            if not guarded("jobs", partial(self._carry_out, context), self._report):
                self._abandon(context)

    def _abandon(self, context: JobContext) -> None:
        """Free the gallery of a job whose end could not even be noted."""
        reason = "the service failed; see its log"
        job = replace(context.job, state="failed", error=reason, finished=time.time())
        with self._changed:
            self._memory.abandon(job)
            self._changed.notify_all()

    def _next(self) -> JobContext | None:
        with self._changed:
            while not self._closing:
                running = [context.job for context in self._memory.live.values()]
                job = self._turns.next(self._waiting.values(), running)
                if job is not None:
                    del self._waiting[job.job_id]
                    return self._begin(job)
                self._changed.wait()
        return None

    def _begin(self, job: Job) -> JobContext:
        job = replace(job, state="running", started=time.time())
        folder = self._scratch.of(job.job_id)
        context = JobContext(job, folder, self._bridge, self._memory.save_now_and_then)
        self._memory.live[job.job_id] = context
        return context

    def _carry_out(self, context: JobContext) -> None:
        end = outcome_of(context, self._run, self._memory)
        job = replace(self._memory.now(context.job), state=end.state, error=end.reason)
        if end.state == "queued":
            job = replace(job, counts={}, errors=0, result=None)
        else:
            job = replace(job, finished=time.time(), rate=0.0, cancelling=False)
            log.info("job %s (%s): %s %s", job.job_id, job.kind, job.state, job.counts)
        if not end.again:
            job = replace(job, kept=0)
        saved = self._memory.end(context, job)
        if saved and not end.again:
            self._drop(job.job_id)
        with self._changed:
            if end.again and not context.cancelled:
                self._shares.keep(job)
            self._changed.notify_all()
        self._prune_if_possible()

    def _prune_if_possible(self) -> None:
        try:
            self._prune()
        except ReidError as error:
            log.warning("finished jobs are not forgotten: %s", error)

    def _same(self, known: Job, order: Order) -> Job:
        if known.order.fingerprint != order.fingerprint:
            raise Conflict(
                f"Idempotency-Key {order.idempotency_key!r} started job {known.job_id}, which was "
                "asked for differently"
            )
        return self._memory.now(known)
