"""``POST /search``: whose crops show the people on these images?"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from service.api.search import MatchRecord, Nearest, QueryImage, SearchAnswer, SearchEntry
from service.embedding.encoded_image import EncodedImage
from service.errors import (
    ImageTooLarge,
    InvalidImage,
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
from service.http.forms import SearchForm
from service.http.given_once import form_given_once
from service.http.problems import image_problem_of, responses
from service.http.records import crop_record, warning_records
from service.search.searcher import Match, Payer, SearchOptions, SearchOutcome, SearchResult
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
    """Who pays for the search, and how more than one request is charged."""
    return Payer(client, partial(gate.charge, caller.key_id))


PayerOf = Annotated[Payer, Depends(payer_of)]


@router.post(
    "/search",
    response_model=SearchAnswer,
    responses=_ERRORS,
    dependencies=[Depends(form_given_once)],
)
async def search(
    form: Annotated[SearchForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    caller: CallerOf,
    payer: PayerOf,
    audit: AuditOf,
) -> Response:
    """Find the crops of a gallery that show the same people.

    Send images, or name crops of the gallery by `crop_ids`, which are left out of their own
    answers. Each is answered on its own, unless `combine` says that all show one person. An
    unusable one among others is one `error` entry; where none is usable the request is refused.
    `unknown` means that no crop reached `min_score`; `nearest` tells how close it was.
    """
    audit.gallery = form.gallery
    caller.require_gallery(form.gallery)
    uploads = await read_uploads(form.images, parts)
    audit.queries = await digests(uploads, parts)
    if (count := len(uploads) + len(form.crop_ids)) > (most := parts.settings.max_images):
        raise TooLarge(f"{count} images and crops: at most {most} are allowed in one request")
    options = _options(form, parts.settings.top_k)
    options.cost(len(uploads)).require_allowed()
    audit.queries += await parts.executors.reads.run(_stored_digests, parts, form)

    def written(outcome: SearchOutcome) -> bytes:
        audit.crops = sum(len(result.matches) for result in outcome.results)
        answer = SearchAnswer(
            model=model_name(outcome.model),
            gallery=form.gallery,
            min_score=outcome.min_score,
            took_ms=stopwatch.took_ms(),
            results=[_entry(result, uploads) for result in outcome.results],
            warnings=warning_records([*outcome.warnings, *filter_time_warnings(form)]),
        )
        return answer.model_dump_json().encode()

    content = await parts.searcher.search(uploads, options, payer, stopwatch, written)
    return Response(content, media_type="application/json")


def _stored_digests(parts: Parts, form: SearchForm) -> list[str]:
    """SHA-256 of the files that the crops searched for came from, where there were files."""
    if not form.crop_ids:
        return []
    crops = parts.store.open(form.gallery).crops(Filter(crop_ids=frozenset(form.crop_ids)))
    return [crop.digest for crop in crops if crop.digest is not None]


def _options(form: SearchForm, default_top_k: int) -> SearchOptions:
    return SearchOptions(
        gallery=form.gallery,
        top_k=form.top_k or default_top_k,
        where=filter_of(form),
        crop_ids=tuple(form.crop_ids),
        camera=form.camera,
        exclude_same_camera=form.exclude_same_camera,
        min_score=form.min_score,
        rerank_top=form.rerank_top if form.rerank else 0,
        identity_score=form.identity_score if form.group_by == "identity" else None,
        combine=form.combine,
        standardise=form.standardise,
    )


def _entry(result: SearchResult, uploads: Sequence[EncodedImage]) -> SearchEntry:
    nearest = result.nearest
    return SearchEntry(
        images=[QueryImage(index=index, file=uploads[index].file) for index in result.images],
        crop_ids=list(result.crop_ids),
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
