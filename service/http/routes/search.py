"""``POST /search``: find the crops that show the same people."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from service.api.search import MatchRecord, Nearest, SearchAnswer, SearchEntry
from service.detection.frame_intake import FrameOptions
from service.errors import (
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    ModelMismatch,
    NotFound,
    Overloaded,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unsupported,
)
from service.gallery.base import Filter
from service.gallery.filter_fields import filter_of, filter_time_warnings
from service.http.dependencies import (
    AuditOf,
    CallerOf,
    ClientOf,
    GateOf,
    PartsOf,
    StopwatchOf,
    digests,
    model_name,
    read_uploads,
)
from service.http.given_once import form_given_once
from service.http.json_route import json_body
from service.http.problems import image_problem_of, responses
from service.http.query_pictures import Asked, asked_crops, asked_persons
from service.http.records import crop_record, warning_records
from service.http.request_models import SearchFields, SearchForm
from service.http.vector_bodies import VectorSearch
from service.search.searcher import Match, Payer, SearchOptions, SearchOutcome, SearchResult
from service.search.shots import SentVector, image_files
from service.search.tracks import track_crops
from service.values.tiling import Grid
from service.wiring import Parts

router = APIRouter(tags=["search"])

_ERRORS = responses(
    InvalidImage,
    ImageTooLarge,
    TooLarge,
    NotFound,
    ModelMismatch,
    Unsupported,
    TooManyRequests,
    Overloaded,
    Unavailable,
)


async def payer_of(caller: CallerOf, client: ClientOf, gate: GateOf) -> Payer:
    """The client to charge for the search, and how to charge more than one request."""
    return Payer(client, partial(gate.charge, caller.key_id))


@dataclass(frozen=True, slots=True)
class Asking:
    """What a search needs in addition to its fields."""

    parts: PartsOf
    stopwatch: StopwatchOf
    caller: CallerOf
    payer: Annotated[Payer, Depends(payer_of)]
    audit: AuditOf


AskingOf = Annotated[Asking, Depends()]


@router.post(
    "/search",
    response_model=SearchAnswer,
    responses=_ERRORS,
    dependencies=[Depends(form_given_once)],
    openapi_extra=json_body(VectorSearch),
)
async def search(
    form: Annotated[SearchForm, Form(media_type="multipart/form-data")], asking: AskingOf
) -> Response:
    """Find the crops of a gallery that show the same people.

    Send images, or name crops of the gallery by `crop_ids` or tracks by `query_tracks`, which are
    left out of their own results; or send `vectors` as JSON. Each query has its own result, unless
    `combine` says that all show one person. An unusable image among others gives one `error`
    result; the request is rejected only if none is usable. `unknown` means that no crop reached
    `min_score`; `nearest` says how close the best one was. With `detect` the images are whole
    frames, and each person on them makes a query.
    """
    require_access(form, asking)
    parts = asking.parts
    if form.detect:
        parts.detection.require()
    uploads = await read_uploads(form.images, parts)
    asking.audit.queries = await digests([upload.data for upload in uploads], parts)
    if not form.detect:
        return await answer_search(form, asking, asked_crops(uploads))
    # Finding persons is far more work than to see that there is no such gallery.
    await parts.executors.reads.run(parts.shelf.open, parts.store, form.gallery)
    options = FrameOptions(Grid.read(form.tiles), form.detect_score)
    frames = await parts.cutter.find(uploads, options, asking.stopwatch)
    return await answer_search(form, asking, asked_persons(uploads, frames))


def require_access(fields: SearchFields, asking: Asking) -> None:
    """Note which gallery is searched, and check that the key allows it. Raises Forbidden."""
    asking.audit.gallery = fields.gallery
    asking.caller.require_gallery(fields.gallery)


async def answer_search(
    fields: SearchFields,
    asking: Asking,
    asked: Sequence[Asked] = (),
    vectors: tuple[SentVector, ...] = (),
    model_sha256: str | None = None,
) -> Response:
    """Search, and write the answer.

    Args:
        fields: of the request.
        asking: the caller and the parts of the service.
        asked: pictures to search for.
        vectors: embeddings to search for.
        model_sha256: the model that made the vectors, if the client says so.

    Returns:
        A :class:`SearchAnswer`.

    Raises:
        ReidError: the search is too large, or cannot be answered.
    """
    parts, audit = asking.parts, asking.audit
    pictures = [one.picture for one in asked]
    images = len(image_files(pictures))
    queries = images + len(vectors) + len(fields.crop_ids) + len(fields.query_tracks)
    _require_few(queries, asked, parts.settings.max_images)
    options = replace(
        _options(fields, parts.settings.top_k), vectors=vectors, model_sha256=model_sha256
    )
    options.cost(images).require_allowed()
    audit.queries += await parts.executors.reads.run(_stored_digests, parts, fields)

    def written(outcome: SearchOutcome) -> bytes:
        audit.crops = sum(len(result.matches) for result in outcome.results)
        answer = SearchAnswer(
            model=model_name(outcome.model),
            gallery=fields.gallery,
            min_score=outcome.min_score,
            took_ms=asking.stopwatch.took_ms(),
            results=[_entry(result, asked) for result in outcome.results],
            warnings=warning_records([*outcome.warnings, *filter_time_warnings(fields)]),
        )
        return answer.model_dump_json().encode()

    content = await parts.searcher.search(
        pictures, options, asking.payer, asking.stopwatch, written
    )
    return Response(content, media_type="application/json")


def _require_few(queries: int, asked: Sequence[Asked], most: int) -> None:
    if queries > most:
        each = "; each person on a frame is one" if any(one.person for one in asked) else ""
        raise TooLarge(f"{queries} queries: at most {most} are allowed in one request{each}")


def _stored_digests(parts: Parts, fields: SearchFields) -> list[str]:
    """SHA-256 of the files that the stored crops came from, if they came from files."""
    if not (fields.crop_ids or fields.query_tracks):
        return []
    gallery = parts.store.open(fields.gallery)
    crops = gallery.crops(Filter(crop_ids=frozenset(fields.crop_ids)))
    for name in fields.query_tracks:
        with suppress(InvalidInput, NotFound):  # the search says so in its result
            crops += track_crops(gallery, name, fields.camera)
    return [crop.digest for crop in crops if crop.digest is not None]


def _options(fields: SearchFields, default_top_k: int) -> SearchOptions:
    return SearchOptions(
        gallery=fields.gallery,
        top_k=fields.top_k or default_top_k,
        where=filter_of(fields),
        crop_ids=tuple(fields.crop_ids),
        camera=fields.camera,
        exclude_same_camera=fields.exclude_same_camera,
        min_score=fields.min_score,
        rerank_top=fields.rerank_top if fields.rerank else 0,
        group_by=fields.group_by,
        identity_score=fields.identity_score,
        combine=fields.combine,
        standardise=fields.standardise,
        tracks=tuple(fields.query_tracks),
    )


def _entry(result: SearchResult, asked: Sequence[Asked]) -> SearchEntry:
    nearest = result.nearest
    return SearchEntry(
        images=[asked[index].image for index in result.images],
        person=asked[result.images[0]].person if result.images else None,
        crop_ids=list(result.crop_ids),
        vectors=list(result.vectors),
        track=result.track,
        status=result.status,
        matches=[_match(match) for match in result.matches],
        nearest=None
        if nearest is None
        else Nearest(score=nearest, probability=result.nearest_probability),
        considered=result.considered,
        error=None if result.error is None else image_problem_of(result.error),
    )


def _match(match: Match) -> MatchRecord:
    return MatchRecord(
        **crop_record(match.crop).model_dump(),
        rank=match.rank,
        score=match.score,
        probability=match.probability,
        standardised_score=match.standardised_score,
        rerank_distance=match.rerank_distance,
        identity_score=match.identity_score,
        group_size=match.group_size,
    )
