"""The job board: takes jobs, runs them, remembers them.

::

    <data>/jobs.sqlite3        every job and the reasons of its failed items
    <data>/jobs/<job id>/      scratch of a job that has not ended well or been cancelled
    <data>/jobs/.incoming-*/   what is being received; a restart removes it
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.errors import Conflict, Overloaded, ReidError
from service.jobs.base import (
    UNFINISHED,
    Cancelled,
    Interrupted,
    ItemError,
    Job,
    Kind,
    Order,
    State,
)
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext, Runner
from service.jobs.disk import disk_errors, sync_folder
from service.jobs.table import JobTable

log = logging.getLogger(__name__)

__all__ = ["Job", "JobBoard", "JobContext", "Runner"]

_WORKERS = 2
_MAX_WAITING = 1000
_KEPT_SECONDS = 7 * 24 * 3600.0
_KEPT_JOBS = 1000
_SAVE_SECONDS = 1.0
_INCOMING = ".incoming-"


class JobBoard:
    """Runs jobs in the background, two at a time and one a gallery; safe to call from any thread.

    Args:
        data: the service's data folder.
        run: does a job of any kind; called in a worker thread.
        bridge: embeds and enrols for the runners.
    """

    def __init__(self, data: Path, run: Runner, bridge: Bridge) -> None:
        self._data = data
        self._folder = data / "jobs"
        self._table = JobTable(data / "jobs.sqlite3")
        self._run = run
        self._bridge = bridge
        self._changed = threading.Condition(threading.RLock())
        self._waiting: dict[str, Job] = {}
        self._live: dict[str, JobContext] = {}
        self._unsaved: dict[str, Job] = {}  # ended, but the disk refused to hear of it
        self._saved_at: dict[str, float] = {}
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
            for context in self._live.values():
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
            self._keep_files(job, received)
            try:
                self._table.insert(job)
            except ReidError:
                self._discard(job.job_id)
                raise
            self._waiting[job.job_id] = job
            self._changed.notify()
            return job

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """A folder to receive files in, removed at the end unless :meth:`place` took it.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        folder = self._folder / f"{_INCOMING}{secrets.token_hex(8)}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def get(self, job_id: str) -> Job:
        """One job at this moment. Raises NotFound."""
        return self._now(self._table.get(job_id))

    def list(self, gallery: str | None, state: State | None, limit: int) -> list[Job]:
        """Jobs, newest first.

        Args:
            gallery: of this gallery only.
            state: in this state only.
            limit: at most this many.
        """
        return [self._now(job) for job in self._table.newest(gallery, state, limit)]

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The items of a job that failed, in the order in which they did. Raises NotFound."""
        self._table.get(job_id)
        context = self._live.get(job_id)
        if context is not None:
            self._write_errors(context)
        return self._table.errors(job_id)

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
            context = self._live.get(job_id)
            if context is not None:
                self._table.save(replace(job, cancelling=True))
                context.cancel()
            elif job.state != "cancelled":
                job = replace(job, state="cancelled", finished=time.time())
                self._table.save(job)
                self._waiting.pop(job_id, None)
                self._unsaved.pop(job_id, None)
                self._discard(job_id)
        return job

    def cancel_all(self, gallery: str) -> None:
        """Cancel every job of a gallery that has not ended well, and drop what it received."""
        states: tuple[State, ...] = ("queued", "running", "failed")
        for state in states:
            for job in self._table.newest(gallery, state, _MAX_WAITING + _KEPT_JOBS):
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
            self._table.save(job)
            self._unsaved.pop(job_id, None)
            self._waiting[job_id] = job
            self._changed.notify()
            return job

    def _recover(self) -> None:
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        for job in self._table.unfinished():
            if job.cancelling:
                self._table.save(replace(job, state="cancelled", finished=time.time()))
            else:
                self._waiting[job.job_id] = _again(job)
        self._prune()
        self._sweep()

    def _sweep(self) -> None:
        """Remove scratch that belongs to no job: cut short by a crash, or cancelled."""
        failed = self._table.newest(None, "failed", _KEPT_JOBS)
        kept = {job.job_id for job in failed} | set(self._waiting)
        with disk_errors(self._folder):
            for folder in self._folder.iterdir():
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def _prune(self) -> None:
        for job_id in self._table.prune(time.time() - _KEPT_SECONDS, _KEPT_JOBS):
            self._discard(job_id)

    def _work(self) -> None:
        while (context := self._next()) is not None:
            self._carry_out(context)

    def _next(self) -> JobContext | None:
        with self._changed:
            while not self._closing:
                busy = {context.gallery for context in self._live.values()}
                for job_id, job in self._waiting.items():
                    if job.gallery not in busy:
                        del self._waiting[job_id]
                        started = replace(job, state="running", started=time.time())
                        context = JobContext(
                            started, self._folder / job_id, self._bridge, self._save_now_and_then
                        )
                        self._live[job_id] = context
                        return context
                self._changed.wait()
        return None

    def _carry_out(self, context: JobContext) -> None:
        job = context.job
        try:
            self._table.clear_errors(job.job_id)
            with self._changed:
                self._table.save(self._now(job))
            self._run(context)
            job = replace(self._now(job), state="done")
        except Cancelled:
            job = replace(self._now(job), state="cancelled")
        except Interrupted:
            pass
        except ReidError as error:
            if context.cancelled:  # perhaps its gallery is gone
                job = replace(self._now(job), state="cancelled")
            elif not context.stopped:  # otherwise it is the service that ends
                job = replace(self._now(job), state="failed", error=str(error))
        except Exception:
            log.exception("job %s failed", job.job_id)
            reason = "the service failed; see its log"
            job = replace(self._now(job), state="failed", error=reason)
        finally:
            self._end(context, job)

    def _end(self, context: JobContext, job: Job) -> None:
        self._write_errors(context)
        with self._changed:  # nobody may take it for running once its end is on disk
            if job.state not in UNFINISHED:
                job = replace(job, finished=time.time(), rate=0.0, cancelling=False)
                log.info("job %s (%s): %s %s", job.job_id, job.kind, job.state, job.counts)
                self._save_at_last(job)
            if job.state in {"done", "cancelled"}:  # a failed one can be resumed
                self._discard(job.job_id)
            del self._live[job.job_id]
            self._saved_at.pop(job.job_id, None)
            self._changed.notify_all()

    def _save_at_last(self, job: Job) -> None:
        try:
            self._table.save(job)
            self._prune()
        except ReidError as error:
            self._unsaved[job.job_id] = job
            log.warning("job %s ended, but that is not on disk: %s", job.job_id, error)

    def _save_now_and_then(self, context: JobContext) -> None:
        now = time.monotonic()
        if now - self._saved_at.get(context.job_id, 0.0) < _SAVE_SECONDS:
            return
        self._saved_at[context.job_id] = now
        self._write_errors(context)
        with self._changed:
            try:
                self._table.save(self._now(context.job))
            except ReidError as error:  # the counts are of use, not of need
                log.warning("job %s: %s", context.job_id, error)

    def _write_errors(self, context: JobContext) -> None:
        errors = context.progress.take_errors()
        try:
            if errors:
                self._table.add_errors(context.job_id, errors)
        except ReidError as error:
            context.progress.put_back(errors)
            log.warning("job %s: reasons of failed items wait: %s", context.job_id, error)

    def _now(self, job: Job) -> Job:
        """What is on disk, or what is known beyond it."""
        context = self._live.get(job.job_id)
        if context is None:
            return self._unsaved.get(job.job_id, job)
        progress = context.progress
        return replace(
            context.job,
            counts=progress.counts(),
            total=progress.total,
            rate=progress.rate(),
            result=context.result,
            errors=progress.errors,
            cancelling=context.cancelled,
        )

    def _same(self, known: Job, order: Order) -> Job:
        if known.order.spec_text != order.spec_text:
            raise Conflict(
                f"Idempotency-Key {order.idempotency_key!r} started job {known.job_id}, which was "
                "asked for differently"
            )
        return self._now(known)

    def _keep_files(self, job: Job, received: Path | None) -> None:
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            if received is not None:
                sync_folder(received)
                received.rename(self._folder / job.job_id)
                sync_folder(self._folder)

    def _discard(self, job_id: str) -> None:
        shutil.rmtree(self._folder / job_id, ignore_errors=True)


def _again(job: Job) -> Job:
    """An ended or interrupted job as it was when it was new."""
    return Job(job.job_id, job.order, "queued", job.created, total=job.order.total)
