"""``/galleries/{gallery}/frames``: a gallery filled with the persons of whole frames."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Response

from service.api.frames import FilledFrame, FramePerson, FramesAnswer
from service.api.search import QueryImage
from service.errors import (
    ImageTooLarge,
    InvalidImage,
    ModelMismatch,
    NotFound,
    Overloaded,
    ReidError,
    StorageFull,
    TooLarge,
    Unavailable,
    Unsupported,
)
from service.gallery.time_warnings import crop_time_warnings
from service.http.answers import json_answer
from service.http.dependencies import (
    AuditOf,
    ClientOf,
    PartsOf,
    StopwatchOf,
    detector_name,
    digests,
    model_name,
    read_uploads,
)
from service.http.frame_forms import FramesForm
from service.http.given_once import form_given_once
from service.http.problems import image_problem_of, responses
from service.http.records import box_record, quality_record, warning_records
from service.ingest.frame_enroller import (
    EnrolledFrame,
    EnrolledPerson,
    FramesOutcome,
    SentFrame,
)
from service.machine.stopwatch import Stopwatch
from service.model.detector_manifest import DetectorManifest
from service.values.timestamps import Moment

router = APIRouter(prefix="/galleries/{gallery}/frames", tags=["crops"])

_ERRORS = (
    *(InvalidImage, ImageTooLarge, TooLarge, NotFound, ModelMismatch),
    *(Overloaded, Unavailable, Unsupported, StorageFull),
)


@router.post(
    "",
    response_model=FramesAnswer,
    responses=responses(*_ERRORS),
    dependencies=[Depends(form_given_once)],
)
async def add_frames(
    gallery: str,
    form: Annotated[FramesForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """Add the persons on whole frames to a gallery: find them, cut them out, store the crops.

    Sending a frame again replaces its crops. An unusable frame among others gives a result with an
    error; the request is rejected only if none is usable.
    """
    detector = parts.detection.require() if form.boxes is None else None
    uploads = await read_uploads(form.images, parts)
    frames, enroller = form.sent(uploads), parts.frame_enroller
    if form.dry_run:
        audit.crops, audit.queries = 0, await digests([one.data for one in uploads], parts)
        outcome = await enroller.look(
            gallery, frames, form.persons, stopwatch, min_quality=form.min_quality
        )
    else:
        outcome = await enroller.enrol(
            gallery, frames, form.persons, stopwatch, client, min_quality=form.min_quality
        )
        audit.crops = _stored(outcome)
    threads = parts.executors.reads.of(client)
    return await json_answer(threads, _answer, form, frames, outcome, detector, stopwatch)


def _stored(outcome: FramesOutcome) -> int:
    return sum(
        person.enrolment is not None and person.error is None
        for frame in outcome.frames
        if isinstance(frame, EnrolledFrame)
        for person in frame.persons
    )


def _answer(
    form: FramesForm,
    frames: Sequence[SentFrame],
    outcome: FramesOutcome,
    detector: DetectorManifest | None,
    stopwatch: Stopwatch,
) -> FramesAnswer:
    results = [
        _frame(QueryImage(index=index, file=frame.upload.file), frame.frame_id, entry)
        for index, (frame, entry) in enumerate(zip(frames, outcome.frames, strict=True))
    ]
    return FramesAnswer(
        model=model_name(outcome.model),
        detector=None if detector is None else detector_name(detector),
        score=detector.score if detector is not None and form.score is None else form.score,
        dry_run=form.dry_run,
        took_ms=stopwatch.took_ms(),
        results=results,
        warnings=warning_records(crop_time_warnings(_moments(form.moments, outcome))),
    )


def _moments(
    moments: Sequence[Moment | None], outcome: FramesOutcome
) -> list[tuple[str, Moment | None]]:
    """The crops, each with the time of its frame."""
    return [
        (person.crop_id, moment)
        for moment, frame in zip(moments, outcome.frames, strict=True)
        if isinstance(frame, EnrolledFrame)
        for person in frame.persons
        if person.dropped is None
    ]


def _frame(image: QueryImage, frame_id: str, entry: EnrolledFrame | ReidError) -> FilledFrame:
    if isinstance(entry, ReidError):
        problem = image_problem_of(entry)
        return FilledFrame(
            image=image, frame_id=frame_id, width=None, height=None, persons=[], error=problem
        )
    return FilledFrame(
        image=image,
        frame_id=frame_id,
        width=entry.width,
        height=entry.height,
        persons=[_person(person) for person in entry.persons],
    )


def _person(entry: EnrolledPerson) -> FramePerson:
    stored = None if entry.enrolment is None or entry.error else entry.enrolment
    return FramePerson(
        box=box_record(entry.person.box),
        score=entry.person.score,
        quality=quality_record(entry.quality),
        crop_id=None if stored is None else stored.crop.crop_id,
        track=entry.person.track,
        status=_status(entry),
        reason=entry.dropped,
        identity=stored and stored.crop.identity,
        origin=stored and stored.crop.origin,
        error=None if entry.error is None else image_problem_of(entry.error),
    )


def _status(entry: EnrolledPerson) -> Literal["created", "replaced", "dropped", "error"] | None:
    if entry.dropped:
        return "dropped"
    if entry.error:
        return "error"
    return None if entry.enrolment is None else entry.enrolment.status
