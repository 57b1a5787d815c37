"""``/galleries/{gallery}/identities`` and ``/cluster``: list, correct and find identities."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service.api.identities import (
    ClusterBody,
    CorrectionRecord,
    IdentityPage,
    IdentityQuery,
    LabelBody,
    MergeBody,
    SplitBody,
)
from service.api.jobs import JobRecord
from service.errors import (
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unsupported,
)
from service.gallery.filter_fields import filter_of, filter_time_warnings
from service.gallery.filter_warnings import warnings_of
from service.gallery.protocol import Gallery
from service.http.answers import json_answer
from service.http.audit_note import AuditNote
from service.http.dependencies import AuditOf, CallerOf, ClientOf, PartsOf
from service.http.problems import responses
from service.http.records import correction_record, identity_page, job_record
from service.identities.corrections import Correction
from service.identities.listing import list_identities
from service.jobs.job import Order
from service.wiring import Parts

router = APIRouter(prefix="/galleries/{gallery}", tags=["identities"])

_CHANGE = responses(NotFound, Unsupported, Unavailable, StorageFull)


@router.get("/identities", response_model=IdentityPage, responses=responses(NotFound, Unavailable))
async def list_gallery_identities(
    gallery: str,
    query: Annotated[IdentityQuery, Query()],
    parts: PartsOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """List identities by name, one page at a time."""
    opened, where = await _open(parts, gallery), filter_of(query)

    def listed() -> IdentityPage:
        listing = list_identities(opened, where, query.limit, query.cursor)
        audit.crops = sum(identity.crops for identity in listing.identities)
        warnings = [*warnings_of(opened, where), *filter_time_warnings(query)]
        return identity_page(listing, warnings)

    return await json_answer(parts.executors.reads.of(client), listed)


@router.post("/identities/label", responses=_CHANGE)
async def label_crops(
    gallery: str, body: LabelBody, parts: PartsOf, client: ClientOf, audit: AuditOf
) -> CorrectionRecord:
    """Say whom crops show. Clustering does not change this afterwards.

    The next clustering treats the label as known: crops grouped with a labelled crop get its
    identity. To separate crops from their group, split them.
    """
    opened = await _open(parts, gallery)
    change = partial(parts.corrections.label, opened, body.crop_ids, body.identity)
    return await _corrected(parts, client, audit, change)


@router.post("/identities/merge", responses=_CHANGE)
async def merge_identities(
    gallery: str, body: MergeBody, parts: PartsOf, client: ClientOf, audit: AuditOf
) -> CorrectionRecord:
    """Merge several identities into one person. Clustering does not separate them again."""
    opened = await _open(parts, gallery)
    change = partial(parts.corrections.merge, opened, body.identities, body.into)
    return await _corrected(parts, client, audit, change)


@router.post("/identities/split", responses=_CHANGE)
async def split_identity(
    gallery: str, body: SplitBody, parts: PartsOf, client: ClientOf, audit: AuditOf
) -> CorrectionRecord:
    """Move crops from their identity into a new one. Clustering does not rejoin them."""
    opened = await _open(parts, gallery)
    change = partial(parts.corrections.split, opened, body.crop_ids, body.into)
    return await _corrected(parts, client, audit, change)


@router.post(
    "/cluster",
    status_code=202,
    responses=responses(NotFound, TooLarge, TooManyRequests, Overloaded, Unavailable, StorageFull),
)
async def cluster_gallery(
    gallery: str,
    parts: PartsOf,
    caller: CallerOf,
    client: ClientOf,
    response: Response,
    body: ClusterBody | None = None,
) -> JobRecord:
    """Group crops without a given identity into persons, as a job. Repeating it keeps the names.

    Identities that were given or set by hand never change; crops grouped with them get theirs. If
    an equal job is already waiting, that job is the answer.
    """
    await _open(parts, gallery)
    spec = (body or ClusterBody()).model_dump()
    order = Order("cluster", gallery, spec, owner=caller.key_id, client=client)
    job = await parts.executors.bookkeeping.run(parts.board.place, order)
    response.headers["Location"] = f"/jobs/{job.job_id}"
    return job_record(job)


async def _corrected(
    parts: Parts, client: str, audit: AuditNote, change: Callable[[], Correction]
) -> CorrectionRecord:
    correction = await parts.executors.writes.of(client).run(change)
    audit.crops = correction.changed
    return correction_record(correction)


async def _open(parts: Parts, name: str) -> Gallery:
    return await parts.executors.reads.run(parts.store.open, name)
