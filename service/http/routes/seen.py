"""``POST /galleries/{gallery}/seen``: has this person been here before?"""

from fastapi import APIRouter, Response

from service.api.seen import SeenAnswer, SeenBody
from service.errors import ModelMismatch, NotFound, Unavailable
from service.gallery.base import Filter
from service.http.answers import json_answer
from service.http.dependencies import AuditOf, ClientOf, PartsOf
from service.http.problems import responses
from service.http.records import seen_answer
from service.search.seen import SeenOptions, find_visits

router = APIRouter(prefix="/galleries/{gallery}", tags=["search"])


@router.post(
    "/seen", response_model=SeenAnswer, responses=responses(NotFound, ModelMismatch, Unavailable)
)
async def find_earlier_visits(
    gallery: str, body: SeenBody, parts: PartsOf, client: ClientOf, audit: AuditOf
) -> Response:
    """Find earlier visits of the person whom some crops of the gallery show.

    A visit is a track, or a group of crops of one camera that lie close together in time.
    """
    options = SeenOptions(
        tuple(body.crop_ids),
        None if body.before is None else body.before.seconds,
        body.gap_seconds,
        body.min_score,
    )

    def found() -> SeenAnswer:
        opened = parts.shelf.open(parts.store, gallery)
        asked = opened.gallery.crops(Filter(crop_ids=frozenset(body.crop_ids)))
        audit.queries += [crop.digest for crop in asked if crop.digest is not None]
        seen = find_visits(opened, options)
        audit.crops = sum(len(visit.hits) for visit in seen.visits)
        return seen_answer(gallery, seen)

    return await json_answer(parts.executors.reads.of(client), found)
