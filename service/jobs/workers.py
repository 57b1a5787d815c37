"""The threads that run jobs, one after the other, and how a run ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from service.errors import InvalidInput, NotFound, ReidError, TooLarge, Unsupported
from service.jobs.context import JobContext, Runner, cut, storable
from service.jobs.job import Interrupted, Job, State
from service.jobs.live import LiveJobs
from service.jobs.queue import WORKERS, JobQueue
from service.machine.background import Report, guarded

log = logging.getLogger(__name__)

_MAX_REASON = 4000
# The input cannot be read, or its gallery is gone: another run would end the same way.
_HOPELESS = (InvalidInput, TooLarge, Unsupported, NotFound)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        state: ``queued`` if the job has to start over.
        reason: why it failed.
        again: whether the job can run again, so that what it received is kept.
    """

    state: State
    reason: str | None = None
    again: bool = True


class Workers:
    """Threads that take jobs from a queue and run them.

    Args:
        queue: the waiting jobs.
        live: the present state of jobs; its lock guards the queue too.
        run: runs a job of any kind.
        begin: makes the context of a job whose turn it is; called with the lock held.
        ended: called without the lock after each run, with its context, the job, how it ended, and
            whether that is on disk.
        report: counts failures of the workers themselves.
    """

    def __init__(
        self,
        queue: JobQueue,
        live: LiveJobs,
        run: Runner,
        begin: Callable[[Job], JobContext],
        ended: Callable[[JobContext, Job, End, bool], None],
        report: Report,
    ) -> None:
        self._queue = queue
        self._live = live
        self._run = run
        self._begin = begin
        self._ended = ended
        self._report = report
        self._changed = threading.Condition(live.lock)
        self._threads: list[threading.Thread] = []
        self._closing = False

    def start(self) -> None:
        """Begin to work."""
        for number in range(WORKERS):
            thread = threading.Thread(target=self._work, name=f"job-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self, patience: float) -> None:
        """Stop running jobs at their next safe point.

        Args:
            patience: seconds to wait for that.
        """
        with self._changed:
            self._closing = True
            for context in self._live.runs.values():
                context.stop()
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def wake(self) -> None:
        """Make the workers look at the queue again; call this after changing it."""
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        while (context := self._next()) is not None:
            if not guarded("jobs", partial(self._carry_out, context), self._report):
                self._abandon(context)

    def _next(self) -> JobContext | None:
        with self._changed:
            while not self._closing:
                running = [context.job for context in self._live.runs.values()]
                job = self._queue.next(running)
                if job is not None:
                    job = replace(job, state="running", started=time.time())
                    context = self._live.runs[job.job_id] = self._begin(job)
                    return context
                self._changed.wait()
        return None

    def _carry_out(self, context: JobContext) -> None:
        end = self._outcome_of(context)
        job = replace(self._live.now(context.job), state=end.state, error=end.reason)
        if end.state == "queued":
            job = replace(job, counts={}, errors=0, result=None)
        else:
            job = replace(job, finished=time.time(), rate=0.0, cancelling=False)
            log.info("job %s (%s): %s %s", job.job_id, job.kind, job.state, job.counts)
        if not end.again:
            job = replace(job, kept=0)
        saved = self._live.end(context, job)
        self._ended(context, job, end, saved)

    def _outcome_of(self, context: JobContext) -> End:
        reason, once_more = None, True
        try:
            self._live.begin(context)
            self._run(context)
        except Interrupted:
            pass
        except ReidError as error:
            reason = cut(storable(str(error)), _MAX_REASON)
            once_more = not isinstance(error, _HOPELESS)
        except Exception:
            log.exception("job %s failed", context.job_id)
            reason = "the service failed; see its log"
        else:
            return End("done", again=False)
        if context.cancelled:  # an error may then mean that its gallery is gone
            return End("cancelled", again=False)
        if context.stopped:  # or that the network is
            return End("queued")
        return End("failed", reason, again=once_more)

    def _abandon(self, context: JobContext) -> None:
        """Free the gallery of a job whose end could not even be kept in memory as usual."""
        reason = "the service failed; see its log"
        job = replace(context.job, state="failed", error=reason, finished=time.time())
        with self._changed:
            self._live.abandon(job)
            self._changed.notify_all()
