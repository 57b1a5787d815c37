"""Make the API's records from the objects of the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from service.access.audit_pages import AuditPage
from service.access.caller import Caller
from service.access.key_file import Key
from service.alerts.event import Event, EventPage, record_of
from service.alerts.watch import Watch
from service.api.boxes import Box as BoxRecord
from service.api.boxes import QualityRecord
from service.api.crops import CropRecord
from service.api.events import DeliveryRecord, Events, StoredEvent
from service.api.galleries import GalleryForecast, GalleryRecord
from service.api.identities import CorrectionRecord, IdentityPage, IdentityRecord
from service.api.jobs import JobRecord, Jobs
from service.api.keys import AuditAnswer, AuditRecord, KeyRecord, WhoAmI
from service.api.seen import SeenAnswer, SeenCamera, VisitRecord
from service.api.snapshots import SnapshotEntry
from service.api.warnings import WarningRecord
from service.api.watches import WatchRecord
from service.erasure.preview import ErasurePreview
from service.gallery.base import Crop, GalleryStats, SnapshotRecord
from service.gallery.filter_warnings import FilterWarning
from service.identities.corrections import Correction
from service.identities.listing import IdentityListing
from service.jobs.job import Job, JobPage
from service.jobs.notes import numbers_only
from service.search.seen import Seen, Visit
from service.values.accuracy import Calibration
from service.values.boxes import Box
from service.values.quality import Quality


def crop_record(crop: Crop) -> CropRecord:
    """Record a crop."""
    return CropRecord(
        crop_id=crop.crop_id,
        identity=crop.identity,
        camera=crop.camera,
        track=crop.track,
        timestamp=crop.timestamp,
        digest=crop.digest,
        origin=crop.origin,
        added=crop.added,
    )


def box_record(box: Box) -> BoxRecord:
    """Record a box."""
    return BoxRecord(x=box.left, y=box.top, width=box.width, height=box.height)


def quality_record(quality: Quality) -> QualityRecord:
    """Record a quality."""
    return QualityRecord(
        value=quality.value,
        sharpness=quality.sharpness,
        cut_off=quality.cut_off,
        covered=quality.covered,
    )


def warning_records(warnings: Sequence[FilterWarning]) -> list[WarningRecord]:
    """Record warnings, in their order."""
    return [
        WarningRecord(code=one.code, field=one.field, values=list(one.values), detail=one.detail)
        for one in warnings
    ]


def gallery_record(stats: GalleryStats) -> GalleryRecord:
    """Record a gallery's counts."""
    return GalleryRecord(**asdict(stats))


def gallery_forecast(doomed: ErasurePreview) -> GalleryForecast:
    """Record what a change of a gallery would erase."""
    receipt = doomed.receipt
    return GalleryForecast(
        deleted=receipt.crops,
        pictures=receipt.pictures,
        identities=receipt.identities,
        cameras=receipt.cameras,
        oldest=doomed.oldest,
        newest=doomed.newest,
        snapshots=list(receipt.snapshots),
    )


def snapshot_entry(record: SnapshotRecord) -> SnapshotEntry:
    """Record a snapshot."""
    return SnapshotEntry(**asdict(record))


def correction_record(correction: Correction) -> CorrectionRecord:
    """Record what a correction did."""
    return CorrectionRecord(
        identity=correction.identity, crops=correction.crops, changed=correction.changed
    )


def identity_page(listing: IdentityListing, warnings: Sequence[FilterWarning]) -> IdentityPage:
    """Record a page of identities.

    Args:
        listing: the page.
        warnings: probable mistakes in its filter.

    Returns:
        The answer.
    """
    identities = [
        IdentityRecord.model_validate(identity, from_attributes=True)
        for identity in listing.identities
    ]
    return IdentityPage(
        warnings=warning_records(warnings),
        identities=identities,
        cursor=listing.cursor,
        total=listing.total,
        unnamed=listing.unnamed,
    )


def job_record(job: Job, *, texts: bool = True) -> JobRecord:
    """Record a job.

    Args:
        job: the job.
        texts: whether the caller may read names of files and people.

    Returns:
        The record.
    """
    known = {name: getattr(job, name) for name in JobRecord.model_fields if hasattr(job, name)}
    if not texts:
        known |= {"error": None, "result": numbers_only(job.result)}
    return JobRecord(**known, kept_bytes=job.kept)


def job_page(page: JobPage, *, texts: bool) -> Jobs:
    """Record a page of jobs; ``texts`` as in :func:`job_record`."""
    return Jobs(jobs=[job_record(job, texts=texts) for job in page.jobs], cursor=page.cursor)


def watch_record(watch: Watch) -> WatchRecord:
    """Record a watch, without its secret."""
    order = watch.order
    daily = order.daily
    return WatchRecord(
        **asdict(order)
        | {
            "identities": list(order.identities),
            "crop_ids": list(order.crop_ids),
            "cameras": None if order.cameras is None else list(order.cameras),
        },
        watch_id=watch.watch_id,
        created=watch.created,
        problem=watch.problem,
        daily_from=None if daily is None else _time_of_day(daily.begin),
        daily_until=None if daily is None else _time_of_day(daily.end),
        zone=None if daily is None else daily.zone,
    )


def event_page(page: EventPage) -> Events:
    """Record a page of events."""
    return Events(events=[_stored_event(event) for event in page.events], cursor=page.cursor)


def _stored_event(event: Event) -> StoredEvent:
    delivery = None
    if event.delivery is not None:
        delivery = DeliveryRecord(
            state=event.delivery,
            attempts=event.attempts,
            next_try=event.next_try,
            error=event.error,
        )
    return StoredEvent(**record_of(event).model_dump(), delivery=delivery)


def seen_answer(gallery: str, seen: Seen) -> SeenAnswer:
    """Record earlier visits, and sum them up per camera."""
    cameras: dict[str | None, list[Visit]] = {}
    for visit in seen.visits:
        cameras.setdefault(visit.camera, []).append(visit)
    return SeenAnswer(
        gallery=gallery,
        before=seen.before,
        min_score=seen.min_score,
        cameras=[
            SeenCamera(
                camera=camera,
                first=min(visit.first for visit in visits),
                last=max(visit.last for visit in visits),
                visits=len(visits),
                score=max(visit.best.score for visit in visits),
            )
            for camera, visits in sorted(cameras.items(), key=lambda entry: entry[0] or "")
        ],
        visits=[_visit_record(visit, seen.calibration) for visit in seen.visits],
        complete=seen.complete,
    )


def _visit_record(visit: Visit, calibration: Calibration | None) -> VisitRecord:
    best = visit.best
    return VisitRecord(
        camera=visit.camera,
        track=visit.track,
        first=visit.first,
        last=visit.last,
        crops=len(visit.hits),
        crop_id=best.crop.crop_id,
        identity=best.crop.identity,
        score=best.score,
        probability=calibration and calibration.probability(best.score),
        false_alert_rate=calibration and calibration.false_alert_rate(best.score),
    )


def _time_of_day(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def key_record(key: Key) -> KeyRecord:
    """Record a key, without its secret."""
    return KeyRecord(**asdict(key) | {"galleries": _sorted(key.galleries)})


def who_am_i(caller: Caller, key: Key | None) -> WhoAmI:
    """Record what callers may know of themselves.

    Args:
        caller: who is asking.
        key: the caller's key, if one was sent.

    Returns:
        The answer.
    """
    return WhoAmI(
        anonymous=caller.key_id is None,
        key_id=caller.key_id,
        label=None if key is None else key.label,
        scope=caller.scope,
        galleries=_sorted(caller.galleries),
        expires=None if key is None else key.expires,
    )


def audit_answer(page: AuditPage) -> AuditAnswer:
    """Record a page of the audit log."""
    entries = [AuditRecord.model_validate(asdict(entry)) for entry in page.entries]
    return AuditAnswer(entries=entries, cursor=page.cursor)


def _sorted(galleries: frozenset[str] | None) -> list[str] | None:
    return None if galleries is None else sorted(galleries)
