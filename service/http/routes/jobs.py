"""``/jobs``: work in the background."""

import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from service.access.caller import Caller
from service.api.jobs import JobQuery, JobRecord, Jobs
from service.errors import (
    Conflict,
    NotFound,
    Overloaded,
    StorageFull,
    TooManyRequests,
    Unavailable,
)
from service.http.answers import json_answer
from service.http.dependencies import AuditOf, CallerOf, PartsOf
from service.http.problems import responses
from service.http.records import job_page, job_record
from service.jobs.job import ItemError, Job, JobFilter, unknown_job
from service.wiring import Parts

router = APIRouter(prefix="/jobs", tags=["jobs"])

_NDJSON = "application/x-ndjson"


@router.get("", response_model=Jobs, responses=responses(Unavailable))
async def list_jobs(
    parts: PartsOf,
    caller: CallerOf,
    query: Annotated[JobQuery, Query()],
) -> Response:
    """List jobs of the caller's galleries, newest first, one page at a time.

    Jobs that were accepted after the first page do not appear on later pages. Finished jobs are
    deleted after a week, or once a thousand more jobs of their gallery have finished.
    """
    if query.gallery is not None:
        caller.require_gallery(query.gallery)
    mine = caller.galleries if query.gallery is None else frozenset({query.gallery})
    where = JobFilter(mine, query.state, query.kind)

    def listed() -> Jobs:
        page = parts.board.page(where, query.limit, query.cursor)
        return job_page(page, texts=caller.allows("write"))

    return await json_answer(parts.executors.bookkeeping, listed)


@router.get("/{job_id}", responses=responses(NotFound, Unavailable))
async def get_job(job_id: str, parts: PartsOf, caller: CallerOf) -> JobRecord:
    """Return a job's state. Only keys that may write see its texts, which may name people."""
    return job_record(await _job(parts, caller, job_id), texts=caller.allows("write"))


@router.get(
    "/{job_id}/errors",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_NDJSON: {}}, "description": "one JSON object per line: item, reason"},
        **responses(NotFound, Unavailable),
    },
)
async def get_job_errors(
    job_id: str, parts: PartsOf, caller: CallerOf, audit: AuditOf
) -> StreamingResponse:
    """Download the failed items and their reasons: per run the first 100,000, or 8 MB."""
    audit.gallery = (await _job(parts, caller, job_id)).order.gallery
    errors = await parts.executors.bookkeeping.run(parts.board.errors, job_id)
    name = f'attachment; filename="{job_id}-errors.ndjson"'
    headers = {"Content-Disposition": name}
    return StreamingResponse(_lines(errors), headers=headers, media_type=_NDJSON)


@router.delete("/{job_id}/errors", responses=responses(NotFound, StorageFull, Unavailable))
async def erase_job_errors(
    job_id: str, parts: PartsOf, caller: CallerOf, audit: AuditOf
) -> JobRecord:
    """Erase the list of failed items and the texts of the result, which may name people."""
    audit.gallery = (await _job(parts, caller, job_id)).order.gallery
    return job_record(await parts.executors.bookkeeping.run(parts.board.notes.drop_errors, job_id))


@router.post("/{job_id}/cancel", responses=responses(NotFound, Conflict, StorageFull, Unavailable))
async def cancel_job(job_id: str, parts: PartsOf, caller: CallerOf, audit: AuditOf) -> JobRecord:
    """Cancel a job permanently. What it stored stays; what it received is deleted.

    A running job stops at its next safe point.
    """
    audit.gallery = (await _job(parts, caller, job_id)).order.gallery
    return job_record(await parts.executors.bookkeeping.run(parts.board.cancel, job_id))


@router.post(
    "/{job_id}/resume",
    responses=responses(NotFound, Conflict, TooManyRequests, Overloaded, StorageFull, Unavailable),
)
async def resume_job(job_id: str, parts: PartsOf, caller: CallerOf, audit: AuditOf) -> JobRecord:
    """Run a failed job again from its start. It skips what is already done."""
    audit.gallery = (await _job(parts, caller, job_id)).order.gallery
    return job_record(await parts.executors.bookkeeping.run(parts.board.resume, job_id))


async def _job(parts: Parts, caller: Caller, job_id: str) -> Job:
    """Find a job of the caller's galleries. Jobs of other galleries are reported as unknown."""
    job = await parts.executors.bookkeeping.run(parts.board.get, job_id)
    if not caller.sees(job.gallery):
        raise unknown_job(job_id)
    return job


def _lines(errors: Iterable[ItemError]) -> Iterator[str]:
    for error in errors:
        yield json.dumps({"item": error.item, "reason": error.reason}) + "\n"
