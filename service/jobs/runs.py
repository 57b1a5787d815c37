"""How one run of a job ends, and how a job that was cut short goes on."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

from service.errors import InvalidInput, NotFound, ReidError, TooLarge, Unsupported
from service.jobs.base import Interrupted, Job, State
from service.jobs.context import JobContext, Runner
from service.jobs.memory import JobMemory
from service.jobs.texts import cut, storable

log = logging.getLogger(__name__)

_MAX_REASON = 4000
# What was received cannot be read, or has nowhere to go: running it again would end the same way.
_HOPELESS = (InvalidInput, TooLarge, Unsupported, NotFound)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        state: ``queued`` where it has to run again.
        reason: why it failed.
        again: whether it can run again, so that it keeps what it received.
    """

    state: State
    reason: str | None = None
    again: bool = True


def outcome_of(context: JobContext, run: Runner, memory: JobMemory) -> End:
    """Run a job, and say how it stands then.

    Args:
        context: the run.
        run: does the job.
        memory: is told that it begins.

    Returns:
        Its end.
    """
    reason, once_more = None, True
    try:
        memory.begin(context)
        run(context)
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
    if context.cancelled:  # an error then may be that its gallery is gone
        return End("cancelled", again=False)
    if context.stopped:  # or that the network is
        return End("queued")
    return End("failed", reason, again=once_more)


def again(job: Job, crashes: int = 0) -> Job:
    """An ended or interrupted job as it was when it was new.

    Args:
        job: the job.
        crashes: how often the service broke down while it ran.

    Returns:
        The job, to be run from its start.
    """
    order = job.order
    return Job(
        *(job.job_id, order, "queued", job.created),
        total=order.total,
        crashes=crashes,
        kept=job.kept,
    )


def after_the_end(job: Job, most: int) -> Job:
    """An unfinished job of a service that has ended, as the next one takes it up.

    Args:
        job: the job.
        most: after so many breakdowns of the service it fails.

    Returns:
        The job: queued, failed or cancelled.
    """
    if job.cancelling:
        return replace(job, state="cancelled", finished=time.time(), kept=0)
    crashes = job.crashes + (job.state == "running")  # one that was stopped in order is queued
    if crashes < most:
        return again(job, crashes)
    reason = (
        f"the service broke down {crashes} times while this job ran, so it does not run again by "
        "itself: resume it once the cause is found, or cancel it"
    )
    return replace(again(job), state="failed", finished=time.time(), error=reason)
