"""``POST /detect``: the persons on whole frames."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from service.api.boxes import PersonRecord
from service.api.detection import DetectAnswer, FrameEntry
from service.api.search import QueryImage
from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import JudgedFrame
from service.embedding.intake import require_one_usable
from service.errors import (
    ImageTooLarge,
    InvalidImage,
    Overloaded,
    ReidError,
    TooLarge,
    Unavailable,
    Unsupported,
)
from service.http.answers import json_answer
from service.http.dependencies import (
    AuditOf,
    ClientOf,
    PartsOf,
    StopwatchOf,
    detector_name,
    digests,
    read_uploads,
)
from service.http.given_once import form_given_once
from service.http.problems import image_problem_of, responses
from service.http.records import box_record, quality_record
from service.http.request_models import DetectForm
from service.values.tiling import Grid

router = APIRouter(tags=["search"])


@router.post(
    "/detect",
    response_model=DetectAnswer,
    responses=responses(
        InvalidImage, ImageTooLarge, TooLarge, Overloaded, Unavailable, Unsupported
    ),
    dependencies=[Depends(form_given_once)],
)
async def detect(
    form: Annotated[DetectForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """Find the persons on whole frames. Nothing is stored.

    An unusable frame among others gives a result with an error; the request is rejected only if
    none is usable.
    """
    detector = parts.detection.require()
    uploads = await read_uploads(form.images, parts)
    audit.queries = await digests([upload.data for upload in uploads], parts)
    options = FrameOptions(Grid.read(form.tiles), form.score)
    outcome = await parts.cutter.judge(uploads, options, stopwatch)
    require_one_usable(uploads, outcome)

    def answer() -> DetectAnswer:
        results = [
            _entry(QueryImage(index=index, file=upload.file), entry)
            for index, (upload, entry) in enumerate(zip(uploads, outcome, strict=True))
        ]
        return DetectAnswer(
            model=detector_name(detector),
            score=detector.score if form.score is None else form.score,
            took_ms=stopwatch.took_ms(),
            results=results,
        )

    return await json_answer(parts.executors.reads.of(client), answer)


def _entry(image: QueryImage, entry: JudgedFrame | ReidError) -> FrameEntry:
    if isinstance(entry, ReidError):
        problem = image_problem_of(entry)
        return FrameEntry(image=image, width=None, height=None, persons=[], error=problem)
    persons = [
        PersonRecord(
            box=box_record(person.box), score=person.score, quality=quality_record(quality)
        )
        for person, quality in zip(entry.persons, entry.qualities, strict=True)
    ]
    return FrameEntry(image=image, width=entry.width, height=entry.height, persons=persons)
