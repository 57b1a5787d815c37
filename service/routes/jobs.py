"""``/jobs``: what runs in the background."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from service.errors import Conflict, NotFound, StorageFull, Unavailable
from service.jobs.base import ItemError, State
from service.jobs.schemas import JobRecord, Jobs
from service.routes.dependencies import PartsOf
from service.routes.problems import responses

router = APIRouter(prefix="/jobs", tags=["jobs"])

_NDJSON = "application/x-ndjson"


@router.get("", responses=responses(Unavailable))
async def list_jobs(
    parts: PartsOf,
    gallery: Annotated[str | None, Query(description="jobs of this gallery only")] = None,
    state: Annotated[State | None, Query(description="jobs in this state only")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="most jobs of the answer")] = 100,
) -> Jobs:
    """Jobs, newest first; finished ones are forgotten after a week, or beyond a thousand."""
    found = await asyncio.to_thread(parts.board.list, gallery, state, limit)
    return Jobs(jobs=[JobRecord.of(job) for job in found])


@router.get("/{job_id}", responses=responses(NotFound, Unavailable))
async def get_job(job_id: str, parts: PartsOf) -> JobRecord:
    """Where a job stands."""
    return JobRecord.of(await asyncio.to_thread(parts.board.get, job_id))


@router.get(
    "/{job_id}/errors",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_NDJSON: {}}, "description": "a JSON object a line: item, reason"},
        **responses(NotFound, Unavailable),
    },
)
async def get_job_errors(job_id: str, parts: PartsOf) -> StreamingResponse:
    """Download the items that failed, and why; of one run, at most the first 100,000."""
    errors = await asyncio.to_thread(parts.board.errors, job_id)
    name = f'attachment; filename="{job_id}-errors.ndjson"'
    headers = {"Content-Disposition": name}
    return StreamingResponse(_lines(errors), headers=headers, media_type=_NDJSON)


@router.post("/{job_id}/cancel", responses=responses(NotFound, Conflict, StorageFull, Unavailable))
async def cancel_job(job_id: str, parts: PartsOf) -> JobRecord:
    """End a job for good; what it has stored stays, what it received is removed.

    A running job ends a moment later, at its next safe point.
    """
    return JobRecord.of(await asyncio.to_thread(parts.board.cancel, job_id))


@router.post("/{job_id}/resume", responses=responses(NotFound, Conflict, StorageFull, Unavailable))
async def resume_job(job_id: str, parts: PartsOf) -> JobRecord:
    """Run a failed job again from its start; what it has done already is skipped."""
    return JobRecord.of(await asyncio.to_thread(parts.board.resume, job_id))


def _lines(errors: Iterable[ItemError]) -> Iterator[str]:
    for error in errors:
        yield json.dumps({"item": error.item, "reason": error.reason}) + "\n"
