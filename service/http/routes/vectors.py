"""Searches and crops by embeddings, as JSON, on the paths that take forms with pictures."""

from fastapi import APIRouter, Response

from service.api.crops import EnrolmentAnswer, StoredCrop
from service.api.search import SearchAnswer
from service.errors import TooLarge
from service.http.dependencies import (
    AuditOf,
    ClientOf,
    CropIdInPath,
    PartsOf,
    StopwatchOf,
    digests,
)
from service.http.json_route import JsonRoute
from service.http.routes.crops import enrolment_answer, stored_crop
from service.http.routes.search import AskingOf, answer_search, require_access
from service.http.vector_bodies import VectorCrop, VectorCrops, VectorSearch
from service.ingest.sent_embeddings import to_bytes

# The routes of the forms describe these bodies too: the document has one entry per path.
router = APIRouter(route_class=JsonRoute, include_in_schema=False)


@router.post("/search", response_model=SearchAnswer)
async def search_by_vectors(body: VectorSearch, asking: AskingOf) -> Response:
    """Find the crops of a gallery that are closest to embeddings."""
    require_access(body, asking)
    threads = asking.parts.executors.reads.of(asking.payer.client)
    vectors = await threads.run(body.sent_vectors)
    sent = [to_bytes(vector.embedding) for vector in vectors]
    asking.audit.queries = await digests(sent, asking.parts)
    return await answer_search(body, asking, vectors=vectors, model_sha256=body.model_sha256)


@router.post("/galleries/{gallery}/crops")
async def add_embedded_crops(
    gallery: str,
    body: VectorCrops,
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    audit: AuditOf,
) -> EnrolmentAnswer:
    """Add or replace many crops by their embeddings, all or none."""
    if (count := len(body.crops)) > (most := parts.settings.max_images):
        raise TooLarge(f"{count} crops: at most {most} are allowed in one request")
    crops = await parts.executors.reads.of(client).run(body.embedded)
    outcome = await parts.embedding_enroller.enrol(
        gallery, crops, body.model_sha256, stopwatch, client
    )
    audit.crops = len(outcome.enrolments)
    moments = [(entry.crop_id, entry.timestamp) for entry in body.crops]
    return enrolment_answer(outcome, moments, stopwatch)


@router.put("/galleries/{gallery}/crops/{crop_id:path}")
async def put_embedded_crop(  # noqa: PLR0913 - FastAPI hands over each
    gallery: str,
    crop_id: CropIdInPath,
    body: VectorCrop,
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    response: Response,
) -> StoredCrop:
    """Add or replace one crop by its embedding; asking twice changes nothing more."""
    crop = body.embedded(crop_id, "the crop")
    outcome = await parts.embedding_enroller.enrol(
        gallery, [crop], body.model_sha256, stopwatch, client
    )
    (enrolment,) = outcome.enrolments
    response.status_code = 201 if enrolment.status == "created" else 200
    return stored_crop(enrolment, body.timestamp)
