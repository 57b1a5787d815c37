"""What is known of jobs: on disk, and beyond it while they run or the disk refuses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from service.errors import InvalidInput, ReidError
from service.gallery.rules import decode_cursor, encode_cursor
from service.jobs.base import ItemError, Job, JobFilter, JobPage, State
from service.jobs.context import JobContext
from service.jobs.table import JobTable

log = logging.getLogger(__name__)

_SAVE_SECONDS = 1.0
_DIGITS = 18  # SQLite counts to 19 digits, but not all of them


class JobMemory:
    """Jobs as they are at this moment; safe to call from several threads.

    Args:
        table: the jobs on disk.

    Attributes:
        lock: held while what is known changes.
        live: the runs under way, by job id.
    """

    def __init__(self, table: JobTable) -> None:
        self.lock = threading.RLock()
        self.live: dict[str, JobContext] = {}
        self._table = table
        self._unsaved: dict[str, Job] = {}  # ended, but the disk refused to hear of it
        self._saved_at: dict[str, float] = {}

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return self.now(self._table.get(job_id))

    def newest(self, where: JobFilter, limit: int | None = None) -> list[Job]:
        """Jobs that pass a filter, newest first; at most so many."""
        return [job for _, job in self._newest(where, limit, None)]

    def page(self, where: JobFilter, limit: int, cursor: str | None) -> JobPage:
        """Part of the jobs that pass a filter, newest first.

        Args:
            where: the filter.
            limit: at most this many, >= 1.
            cursor: of the part before; None for the first.

        Returns:
            The part; jobs that were accepted since the first part are in none of them.

        Raises:
            InvalidInput: a broken cursor.
        """
        found = self._newest(where, limit + 1, None if cursor is None else _number(cursor))
        following = encode_cursor(str(found[limit - 1][0])) if len(found) > limit else None
        return JobPage(tuple(job for _, job in found[:limit]), following)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The items of a job that failed. Raises NotFound."""
        self._table.get(job_id)
        context = self.live.get(job_id)
        if context is not None:
            self.write_errors(context)
        return self._table.errors(job_id)

    def now(self, job: Job) -> Job:
        """A job as the disk has it, with what is known beyond that."""
        context = self.live.get(job.job_id)
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
        """Write where a job that does not run stands. Raises StorageFull, Unavailable."""
        with self.lock:
            self._table.save(job)
            self._unsaved.pop(job.job_id, None)

    def begin(self, context: JobContext) -> None:
        """Write that a run has begun. Raises StorageFull, Unavailable."""
        self._table.clear_errors(context.job_id)
        with self.lock:
            self._table.save(self.now(context.job))

    def save_now_and_then(self, context: JobContext) -> None:
        """Write how far a run has come, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._saved_at.get(context.job_id, 0.0) < _SAVE_SECONDS:
            return
        self._saved_at[context.job_id] = now
        self.write_errors(context)
        with self.lock:
            try:
                self._table.save(self.now(context.job))
            except ReidError as error:  # the counts are of use, not of need
                log.warning("job %s: %s", context.job_id, error)

    def end(self, context: JobContext, job: Job) -> bool:
        """Write that a run has ended; what the disk refuses is kept in memory.

        Args:
            context: the run.
            job: as it stands from now on.

        Returns:
            Whether the disk took it.
        """
        self.write_errors(context)
        with self.lock:  # nobody may take it for running once its end is on disk
            try:
                self._table.save(job)
                saved = True
            except ReidError as error:
                self._unsaved[job.job_id] = job
                log.warning("job %s is %s, which is not on disk: %s", job.job_id, job.state, error)
                saved = False
            del self.live[job.job_id]
            self._saved_at.pop(job.job_id, None)
            return saved

    def abandon(self, job: Job) -> None:
        """Keep in memory that a run has ended, where :meth:`end` failed.

        Args:
            job: as it stands from now on.
        """
        with self.lock:
            self._unsaved[job.job_id] = job
            self.live.pop(job.job_id, None)
            self._saved_at.pop(job.job_id, None)

    def _newest(
        self, where: JobFilter, limit: int | None, before: int | None
    ) -> list[tuple[int, Job]]:
        with self.lock:  # what runs or ended meanwhile is in a state that the disk does not know
            ahead: dict[str, State] = {job_id: job.state for job_id, job in self._unsaved.items()}
            ahead |= dict.fromkeys(self.live, "running")
            found = self._table.newest(where, limit, before=before, ahead=ahead)
            return [(number, self.now(job)) for number, job in found]

    def write_errors(self, context: JobContext) -> None:
        """Write the reasons of a run's failed items so far; where the disk refuses, they wait."""
        errors = context.progress.take_errors()
        try:
            if errors:
                self._table.add_errors(context.job_id, errors)
        except ReidError as error:
            context.progress.put_back(errors)
            log.warning("job %s: reasons of failed items wait: %s", context.job_id, error)


def _number(cursor: str) -> int:
    text = decode_cursor(cursor)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidInput(f"cursor {cursor[:80]!r}: not one of a listing of jobs")
    return int(text)
