"""Jobs: what runs in the background."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from service.api import jobs as api
from service.client.call import Call, Paged, Pause, Steps, as_model, at, get
from service.client.errors import JobFailed
from service.client.routes import Conversation, Group, Pages, Route, Sender
from service.values.vocabulary import JobKind, JobState

_ONE = "/jobs/{job_id}"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def _page(
    *,
    gallery: str | None = None,
    state: JobState | None = None,
    kind: JobKind | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[api.Jobs]:
    """One page of jobs, newest first.

    Args:
        gallery: jobs of this gallery only.
        state: jobs in this state only.
        kind: jobs of this kind only.
        limit: jobs per page, 1..1000; 100 if absent.
        cursor: the previous page's.

    Returns:
        The page.
    """
    query = {"gallery": gallery, "state": state, "kind": kind, "limit": limit, "cursor": cursor}
    return get("/jobs", api.Jobs, query)


def _every(
    *,
    gallery: str | None = None,
    state: JobState | None = None,
    kind: JobKind | None = None,
    limit: int = 1000,
) -> Paged[api.Jobs, api.JobRecord]:
    """Every job, newest first.

    Args:
        gallery: jobs of this gallery only.
        state: jobs in this state only.
        kind: jobs of this kind only.
        limit: jobs per request.

    Returns:
        An iterator.
    """
    call = _page(gallery=gallery, state=state, kind=kind, limit=limit)
    return Paged(call, lambda page: page.jobs, lambda page: page.cursor)


def _get(job_id: str) -> Call[api.JobRecord]:
    """Where a job stands."""
    return get(at(_ONE, job_id=job_id), api.JobRecord)


def _errors(job_id: str) -> Call[list[api.JobItemError]]:
    """The items of a job that failed, and why; at most the first 100,000 of its latest run."""
    return Call(
        method="GET", path=at(_ONE, job_id=job_id) + "/errors", read=_lines, repeat="always"
    )


def _erase_errors(job_id: str) -> Call[api.JobRecord]:
    """Erase the list of failed items and the texts of the result; they may name people."""
    return Call(
        method="DELETE",
        path=at(_ONE, job_id=job_id) + "/errors",
        read=as_model(api.JobRecord),
        repeat="always",
    )


def _cancel(job_id: str) -> Call[api.JobRecord]:
    """End a job for good; what it has stored stays."""
    return _post(at(_ONE, job_id=job_id) + "/cancel")


def _resume(job_id: str) -> Call[api.JobRecord]:
    """Run a failed job again from its start; what it has done already is skipped."""
    return _post(at(_ONE, job_id=job_id) + "/resume")


def _wait(
    job_id: str,
    *,
    on_progress: Callable[[api.JobRecord], object] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Steps[api.JobRecord]:
    """Wait until a job has ended.

    Args:
        job_id: as the job's record gives it.
        on_progress: called with every state that is seen, the last one included.
        timeout: seconds after which to stop waiting; the job goes on.
        check: raise JobFailed if the job did not end as ``done``.

    Returns:
        The job's last state.

    Raises:
        JobFailed: it failed or was cancelled.
        TimeoutError: it has not ended in time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        job: api.JobRecord = yield _get(job_id)
        if on_progress is not None:
            on_progress(job)
        if job.finished is not None:
            break
        if deadline is not None and time.monotonic() + pause > deadline:
            raise TimeoutError(f"job {job_id} is {job.state} after {timeout} s")
        yield Pause(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    if check and job.state != "done":
        raise JobFailed(job)
    return job


def _post(path: str) -> Call[api.JobRecord]:
    return Call(method="POST", path=path, read=as_model(api.JobRecord))


def _lines(answer: httpx.Response) -> list[api.JobItemError]:
    read = api.JobItemError.model_validate_json
    return [read(line, extra="ignore") for line in answer.iter_lines()]


class Jobs(Group[Sender]):
    """Jobs: what runs in the background."""

    list = Route(_page)
    iterate = Pages(_every)
    get = Route(_get)
    errors = Route(_errors)
    erase_errors = Route(_erase_errors)
    cancel = Route(_cancel)
    resume = Route(_resume)
    wait = Conversation(_wait)
