"""The job board: accepts jobs, runs them in the background, and remembers them.

``<data>/jobs.sqlite3`` holds every job and its item errors, ``<data>/jobs/`` its uploads.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.errors import Conflict, ReidError
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext, Runner
from service.jobs.job import (
    UNFINISHED,
    ItemError,
    Job,
    JobFilter,
    JobPage,
    Kind,
    Order,
    State,
    recovered,
    requeued,
)
from service.jobs.live import LiveJobs
from service.jobs.notes import JobNotes
from service.jobs.queue import JobQueue
from service.jobs.table import JobTable
from service.jobs.uploads import KEPT_BYTES, Uploads
from service.jobs.workers import End, Workers
from service.machine.background import Report

log = logging.getLogger(__name__)

_KEPT_SECONDS = 7 * 24 * 3600.0
_KEPT_JOBS = 1000  # per gallery
_KEPT_TEXTS = 16 << 20  # characters of item errors and results per gallery


class JobBoard:
    """Runs jobs in the background, one per gallery at a time; safe to call from any thread.

    Args:
        data: the service's data folder.
        run: runs a job of any kind; called in a worker thread.
        bridge: embeds and enrols for the runners.
        report: counts failures of the workers themselves.
        kept_bytes: most bytes of uploads that one client may keep.
    """

    def __init__(
        self,
        data: Path,
        run: Runner,
        bridge: Bridge,
        report: Report,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._table = JobTable(data / "jobs.sqlite3")
        self._live = LiveJobs(self._table)
        self.notes = JobNotes(self._table, self._live)
        self._bridge = bridge
        self._lock = self._live.lock
        self._queue = JobQueue()
        self._uploads = Uploads(data / "jobs", kept_bytes, self._lock, self._give_way)
        self._workers = Workers(self._queue, self._live, run, self._begin, self._ended, report)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up the unfinished jobs of the last run and begin to work.

        Args:
            loop: the event loop that images are embedded on.
        """
        self._bridge.attach(loop)
        try:
            self._recover()
        except ReidError as error:  # searches must go on; the jobs wait for the next start
            log.warning("unfinished jobs are not resumed: %s", error)
        self._workers.start()

    def close(self, patience: float = 10.0) -> None:
        """Stop running jobs at their next safe point; they start over at the next start.

        Args:
            patience: seconds to wait for that.
        """
        self._workers.close(patience)
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
        """Accept a job without files; the arguments are those of :class:`Order`.

        Returns:
            The job, durable.

        Raises:
            ReidError: as :meth:`place`.
        """
        return self.place(Order(kind, gallery, spec, total, idempotency_key, owner))

    def place(self, order: Order, received: Path | None = None) -> Job:
        """Accept a job, durable on return.

        Args:
            order: the request.
            received: a folder from :meth:`receiving`; it becomes the job's own.

        Returns:
            The job. If the idempotency key was used before, or an equal clustering or model change
            is already waiting, that job.

        Raises:
            Conflict: the idempotency key was used with another spec.
            TooLarge: the spec is too long.
            TooManyRequests: the client, or the gallery, has used up its quota.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        order = replace(order, asked=order.fingerprint)  # a long spec is hashed only once
        with self._lock:
            known = self._known(order)
            if known is not None:
                return known
            self._queue.require_room(order)
            job = Job(secrets.token_hex(8), order, "queued", time.time(), total=order.total)
            if received is not None:
                job = self._uploads.take(received, job)
            try:
                self._table.insert(job)
            except ReidError:
                self._uploads.drop(job.job_id)
                raise
            self._enqueue(job)
            return job

    @contextmanager
    def receiving(self, order: Order | None = None, announced: int = 0) -> Iterator[Path]:
        """Provide a folder for an upload, removed at the end unless :meth:`place` took it.

        Args:
            order: the job it is for; without one, no quota is charged.
            announced: its size in bytes; 0 if unknown.

        Raises:
            TooManyRequests: the client, or the gallery, has used up its quota.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        if order is not None:
            with self._lock:
                self._queue.require_room(order)
        with self._uploads.receiving(order, announced) as folder:
            yield folder

    def charge(self, folder: Path, size: int) -> None:
        """Charge the bytes received so far in a folder of :meth:`receiving`.

        Raises:
            ReidError: as :meth:`receiving`.
        """
        self._uploads.charge(folder, size)

    def get(self, job_id: str) -> Job:
        """One job at this moment. Raises NotFound."""
        return self._live.get(job_id)

    def list(self, gallery: str | None, state: State | None, limit: int | None = None) -> list[Job]:
        """Jobs, newest first.

        Args:
            gallery: only jobs of this gallery.
            state: only jobs in this state.
            limit: most jobs; None for all.
        """
        galleries = None if gallery is None else frozenset({gallery})
        return self._live.newest(JobFilter(galleries, state), limit)

    def page(self, where: JobFilter, limit: int, cursor: str | None = None) -> JobPage:
        """One page of the jobs that pass a filter; see :meth:`LiveJobs.page`."""
        return self._live.page(where, limit, cursor)

    def keeping_files(self, gallery: str) -> tuple[str, ...]:
        """Ids of a gallery's jobs that still keep their upload, which may hold its crops."""
        jobs = self.list(gallery, None)
        return tuple(job.job_id for job in jobs if self._uploads.holds_files(job.job_id))

    @property
    def waiting(self) -> int:
        """Number of waiting jobs."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Number of running jobs."""
        return len(self._live.runs)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The failed items of a job, in the order in which they failed. Raises NotFound."""
        return self._live.errors(job_id)

    def cancel(self, job_id: str) -> Job:
        """End a job for good; a running one ends at its next safe point.

        Args:
            job_id: a job that waits, runs, failed or was cancelled.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done.
            StorageFull: the disk is full.
        """
        with self._lock:
            job = self.get(job_id)
            if job.state == "done":
                raise Conflict(f"job {job_id} is already done")
            context = self._live.runs.get(job_id)
            if context is not None:
                self._table.save(replace(job, cancelling=True))
                context.cancel()
            elif job.state != "cancelled":
                job = replace(job, state="cancelled", finished=time.time(), kept=0)
                self._live.save(job)
                self._queue.remove(job_id)
                self._uploads.drop(job_id)
        return job

    def resume(self, job_id: str) -> Job:
        """Run a failed job again from its start; a waiting or running job just continues.

        Args:
            job_id: the job.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
            Conflict: it is done, was cancelled, or no longer has its upload.
            TooManyRequests: its client, or its gallery, has too many waiting jobs.
            Overloaded: too many jobs wait.
            StorageFull: the disk is full.
        """
        with self._lock:
            job = self.get(job_id)
            if job.state in UNFINISHED:
                return job
            if job.state != "failed":
                raise Conflict(f"job {job_id} is {job.state}: only a failed job can be resumed")
            if not job.resumable:
                raise Conflict(f"job {job_id} no longer has its upload: send it again")
            self._queue.require_room(job.order)
            job = requeued(job)
            self._live.save(job)
            self._enqueue(job)
            return job

    def forget(self, gallery: str) -> int:
        """Forget every job of a deleted gallery, with its files.

        Running jobs end at their next safe point and leave nothing behind either.

        Returns:
            Number of jobs.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        with self._lock:
            gone = self._table.forget(gallery)
            for job_id in gone:
                self._queue.remove(job_id)
                context = self._live.runs.get(job_id)
                if context is None:
                    self._uploads.drop(job_id)
                else:
                    context.cancel()  # its folder is removed once it no longer reads it
        self._workers.wake()
        self._table.clean_soon()
        return len(gone)

    def _enqueue(self, job: Job) -> None:
        self._uploads.keep(job)
        self._queue.add(job)
        self._workers.wake()

    def _known(self, order: Order) -> Job | None:
        """The job that an earlier, equal request started, if any."""
        if order.idempotency_key is not None:
            known = self._table.of_key(order)
            if known is not None:
                return self._same(known, order)
        return self._queue.equal_to(order)

    def _same(self, known: Job, order: Order) -> Job:
        if known.order.fingerprint != order.fingerprint:
            raise Conflict(
                f"Idempotency-Key {order.idempotency_key!r} was already used for job "
                f"{known.job_id} with a different request; use a new key"
            )
        return self._live.now(known)

    def _give_way(self, job_id: str) -> None:
        """Store that a failed job has lost its upload because its client needs the room."""
        self._live.save(replace(self.get(job_id), kept=0))

    def _begin(self, job: Job) -> JobContext:
        folder = self._uploads.folder_of(job.job_id)
        return JobContext(job, folder, self._bridge, self._live.save_progress)

    def _ended(self, context: JobContext, job: Job, end: End, saved: bool) -> None:
        if saved and not end.again:
            self._uploads.drop(job.job_id)
        if end.again and not context.cancelled:
            self._uploads.keep(job)
        self._workers.wake()
        try:
            self._prune()
        except ReidError as error:
            log.warning("finished jobs are not forgotten yet: %s", error)

    def _recover(self) -> None:
        for unfinished in self._table.unfinished():
            job = recovered(unfinished)
            self._table.save(job)
            if job.state == "queued":
                self._queue.add(job)
        self._prune()
        failed = [job for job in self.list(None, "failed") if job.resumable]
        self._uploads.restore((*failed, *self._queue.jobs()))

    def _prune(self) -> None:
        before = time.time() - _KEPT_SECONDS
        for job_id in self._table.prune(before, _KEPT_JOBS, _KEPT_TEXTS):
            self._uploads.drop(job_id)
