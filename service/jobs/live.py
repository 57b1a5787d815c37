"""The present state of jobs: what is on disk, and what running jobs know beyond that."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from service.errors import InvalidInput, ReidError
from service.gallery.rules import decode_cursor, encode_cursor
from service.jobs.context import JobContext
from service.jobs.job import ItemError, Job, JobFilter, JobPage, State
from service.jobs.table import JobTable

log = logging.getLogger(__name__)

_SAVE_SECONDS = 1.0
_DIGITS = 18  # SQLite's integers have up to 19 digits, but not every 19-digit number fits


class LiveJobs:
    """Jobs as they are at this moment; safe to call from several threads.

    Args:
        table: the jobs on disk.

    Attributes:
        lock: held while jobs change.
        runs: the runs in progress, by job id.
    """

    def __init__(self, table: JobTable) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, JobContext] = {}
        self._table = table
        self._unsaved: dict[str, Job] = {}  # ended, but the disk refused the write
        self._saved_at: dict[str, float] = {}

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return self.now(self._table.get(job_id))

    def newest(self, where: JobFilter, limit: int | None = None) -> list[Job]:
        """Jobs that pass a filter, newest first; at most ``limit``."""
        return [job for _, job in self._newest(where, limit, None)]

    def page(self, where: JobFilter, limit: int, cursor: str | None) -> JobPage:
        """One page of the jobs that pass a filter, newest first.

        Args:
            where: the filter.
            limit: most jobs, >= 1.
            cursor: from the previous page; None for the first.

        Returns:
            The page. Jobs accepted after the first page was read are on none of the pages.

        Raises:
            InvalidInput: the cursor is not valid.
        """
        found = self._newest(where, limit + 1, None if cursor is None else _number(cursor))
        following = encode_cursor(str(found[limit - 1][0])) if len(found) > limit else None
        return JobPage(tuple(job for _, job in found[:limit]), following)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The failed items of a job. Raises NotFound."""
        self._table.get(job_id)
        context = self.runs.get(job_id)
        if context is not None:
            self.write_errors(context)
        return self._table.errors(job_id)

    def now(self, job: Job) -> Job:
        """Update a job read from disk with what is known beyond that."""
        context = self.runs.get(job.job_id)
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

    def save(self, job: Job) -> None:
        """Store a job that is not running. Raises StorageFull, Unavailable."""
        with self.lock:
            self._table.save(job)
            self._unsaved.pop(job.job_id, None)

    def begin(self, context: JobContext) -> None:
        """Store that a run has begun. Raises StorageFull, Unavailable."""
        self._table.clear_errors(context.job_id)
        with self.lock:
            self._table.save(self.now(context.job))

    def save_progress(self, context: JobContext) -> None:
        """Store the progress of a run, at most once per second."""
        now = time.monotonic()
        if now - self._saved_at.get(context.job_id, 0.0) < _SAVE_SECONDS:
            return
        self._saved_at[context.job_id] = now
        self.write_errors(context)
        with self.lock:
            try:
                self._table.save(self.now(context.job))
            except ReidError as error:  # the run can go on without stored counts
                log.warning("job %s: progress is not stored: %s", context.job_id, error)

    def end(self, context: JobContext, job: Job) -> bool:
        """Store that a run has ended; if the disk refuses, keep that in memory.

        Args:
            context: the run.
            job: the job in its new state.

        Returns:
            Whether it is on disk.
        """
        self.write_errors(context)
        with self.lock:  # once its end is on disk, nobody may see the job as running
            try:
                self._table.save(job)
                saved = True
            except ReidError as error:
                self._unsaved[job.job_id] = job
                log.warning("job %s is %s, but not on disk: %s", job.job_id, job.state, error)
                saved = False
            del self.runs[job.job_id]
            self._saved_at.pop(job.job_id, None)
            return saved

    def abandon(self, job: Job) -> None:
        """Keep in memory that a run has ended after :meth:`end` itself failed.

        Args:
            job: the job in its new state.
        """
        with self.lock:
            self._unsaved[job.job_id] = job
            self.runs.pop(job.job_id, None)
            self._saved_at.pop(job.job_id, None)

    def write_errors(self, context: JobContext) -> None:
        """Store the item errors of a run so far; if the disk refuses, keep them for later."""
        errors = context.progress.take_errors()
        try:
            if errors:
                self._table.add_errors(context.job_id, errors)
        except ReidError as error:
            context.progress.put_back(errors)
            log.warning("job %s: item errors are not stored yet: %s", context.job_id, error)

    def _newest(
        self, where: JobFilter, limit: int | None, before: int | None
    ) -> list[tuple[int, Job]]:
        with self.lock:  # running jobs, and unsaved ones, are in a state the disk does not know
            ahead: dict[str, State] = {job_id: job.state for job_id, job in self._unsaved.items()}
            ahead |= dict.fromkeys(self.runs, "running")
            found = self._table.newest(where, limit, before=before, ahead=ahead)
            return [(number, self.now(job)) for number, job in found]


def _number(cursor: str) -> int:
    text = decode_cursor(cursor)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidInput(f"cursor {cursor[:80]!r} is not from a listing of jobs")
    return int(text)
