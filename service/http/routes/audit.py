"""``GET /audit``: who searched for or changed what, and when."""

from typing import Annotated

from fastapi import APIRouter, Query

from service.api.keys import AuditAnswer, AuditQuery
from service.errors import Unavailable
from service.http.dependencies import GateOf
from service.http.problems import responses
from service.http.records import audit_answer

router = APIRouter(tags=["access"])


@router.get("/audit", responses=responses(Unavailable))
async def read_audit(query: Annotated[AuditQuery, Query()], gate: GateOf) -> AuditAnswer:
    """Read the audit log, oldest entries first, one page at a time."""
    page = await gate.bookkeeping.run(
        gate.audit.page, query.since, query.until, query.limit, query.cursor
    )
    return audit_answer(page)
