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
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from service.background import Report, guarded
from service.errors import Conflict, Overloaded, ReidError
from service.jobs.base import (
    UNFINISHED,
    Interrupted,
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
from service.jobs.scratch import Scratch
from service.jobs.table import JobTable
from service.jobs.texts import storable

log = logging.getLogger(__name__)

__all__ = ["Job", "JobBoard", "JobContext", "Runner"]

_WORKERS = 2
_MAX_WAITING = 1000
_KEPT_SECONDS = 7 * 24 * 3600.0
_KEPT_JOBS = 1000
_MAX_CRASHES = 10


class JobBoard:
    """Runs jobs in the background, two at a time and one a gallery; safe to call from any thread.

    Args:
        data: the service's data folder.
        run: does a job of any kind; called in a worker thread.
        bridge: embeds and enrols for the runners.
        report: counts failures of the workers themselves.
    """

    def __init__(self, data: Path, run: Runner, bridge: Bridge, report: Report) -> None:
        self._scratch = Scratch(data / "jobs")
        self._table = JobTable(data / "jobs.sqlite3")
        self._memory = JobMemory(self._table)
        self._run = run
        self._bridge = bridge
        self._report = report
        self._changed = threading.Condition(self._memory.lock)
        self._waiting: dict[str, Job] = {}
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
        for number in range(_WORKERS):
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
            Conflict: the key came with another spec before.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        return self.place(Order(kind, gallery, spec, total, idempotency_key, owner))

    def place(self, order: Order, received: Path | None = None) -> Job:
        """Take a job that comes with files, durable on return.

        Args:
            order: what is asked.
            received: a folder of :meth:`receiving`; becomes the job's scratch.

        Returns:
            The job.

        Raises:
            ReidError: as :meth:`submit`.
        """
        with self._changed:
            if order.idempotency_key is not None:
                known = self._table.of_key(order)
                if known is not None:
                    return self._same(known, order)
            if len(self._waiting) >= _MAX_WAITING:
                raise Overloaded(f"{_MAX_WAITING} jobs wait already", retry_after=30)
            job = Job(secrets.token_hex(8), order, "queued", time.time(), total=order.total)
            if received is not None:
                self._scratch.take(received, job.job_id)
            try:
                self._table.insert(job)
            except ReidError:
                self._scratch.discard(job.job_id)
                raise
            self._waiting[job.job_id] = job
            self._changed.notify()
            return job

    def receiving(self) -> AbstractContextManager[Path]:
        """A folder to receive files in, removed at the end unless :meth:`place` took it.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        return self._scratch.receiving()

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
                job = replace(job, state="cancelled", finished=time.time())
                self._memory.save(job)
                self._waiting.pop(job_id, None)
                self._scratch.discard(job_id)
        return job

    def cancel_all(self, gallery: str) -> None:
        """Cancel every job of a gallery that has not ended well, and drop what it received."""
        states: tuple[State, ...] = ("queued", "running", "failed")
        for state in states:
            for job in self.list(gallery, state):
                self.cancel(job.job_id)

    def resume(self, job_id: str) -> Job:
        """Run a failed job again from its start; one that waits or runs goes on.

        Args:
            job_id: the job.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done, or was cancelled.
            StorageFull: the disk is full.
        """
        with self._changed:
            job = self.get(job_id)
            if job.state in UNFINISHED:
                return job
            if job.state != "failed":
                raise Conflict(f"job {job_id} is {job.state}: only a failed job can be resumed")
            job = _again(job)
            self._memory.save(job)
            self._waiting[job_id] = job
            self._changed.notify()
            return job

    def _recover(self) -> None:
        for job in self._table.unfinished():
            job = _after_the_end(job)  # noqa: PLW2901 - the same job, a service later
            self._table.save(job)
            if job.state == "queued":
                self._waiting[job.job_id] = job
        self._prune()
        failed = self.list(None, "failed")
        self._scratch.sweep({job.job_id for job in failed} | set(self._waiting))

    def _prune(self) -> None:
        for job_id in self._table.prune(time.time() - _KEPT_SECONDS, _KEPT_JOBS):
            self._scratch.discard(job_id)

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
                busy = {context.gallery for context in self._memory.live.values()}
                for job_id, job in self._waiting.items():
                    if job.gallery not in busy:
                        del self._waiting[job_id]
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
        state, reason = self._outcome(context)
        job = replace(self._memory.now(context.job), state=state, error=reason)
        if state == "queued":
            job = replace(job, counts={}, errors=0, result=None)
        else:
            job = replace(job, finished=time.time(), rate=0.0, cancelling=False)
            log.info("job %s (%s): %s %s", job.job_id, job.kind, job.state, job.counts)
        saved = self._memory.end(context, job)
        if saved and state in {"done", "cancelled"}:  # a failed one can be resumed
            self._scratch.discard(job.job_id)
        with self._changed:
            self._changed.notify_all()
        self._prune_if_possible()

    def _outcome(self, context: JobContext) -> tuple[State, str | None]:
        """Run a job, and say how it stands then: ``queued`` where it has to run again."""
        reason = None
        try:
            self._memory.begin(context)
            self._run(context)
        except Interrupted:
            pass
        except ReidError as error:
            reason = storable(str(error))
        except Exception:
            log.exception("job %s failed", context.job_id)
            reason = "the service failed; see its log"
        else:
            return "done", None
        if context.cancelled:  # an error then may be that its gallery is gone
            return "cancelled", None
        if context.stopped:  # or that the network is
            return "queued", None
        return "failed", reason

    def _prune_if_possible(self) -> None:
        try:
            self._prune()
        except ReidError as error:
            log.warning("finished jobs are not forgotten: %s", error)

    def _same(self, known: Job, order: Order) -> Job:
        if known.order.spec_text != order.spec_text:
            raise Conflict(
                f"Idempotency-Key {order.idempotency_key!r} started job {known.job_id}, which was "
                "asked for differently"
            )
        return self._memory.now(known)


def _again(job: Job, crashes: int = 0) -> Job:
    """An ended or interrupted job as it was when it was new."""
    order = job.order
    return Job(job.job_id, order, "queued", job.created, total=order.total, crashes=crashes)


def _after_the_end(job: Job) -> Job:
    """An unfinished job of a service that has ended, as the next one takes it up."""
    if job.cancelling:
        return replace(job, state="cancelled", finished=time.time())
    crashes = job.crashes + (job.state == "running")  # one that was stopped in order is queued
    if crashes < _MAX_CRASHES:
        return _again(job, crashes)
    reason = f"the service broke down {crashes} times while this job ran"
    return replace(_again(job), state="failed", finished=time.time(), error=reason)
