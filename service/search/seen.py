"""Has somebody been here before? Earlier visits of whoever a few crops show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.embedding.shelf import OpenGallery
from service.gallery.base import Crop, Filter, Hit, time_of
from service.search.shots import queries_of, stored_shots
from service.values.accuracy import Calibration

MOST_CROPS = 1000
"""The nearest crops that visits are made of; a gallery may hold more of the person."""


@dataclass(frozen=True, slots=True)
class SeenOptions:
    """What is asked for.

    Attributes:
        crop_ids: stored crops of one person, at least one.
        before: only visits before this time, in seconds since 1970-01-01 UTC; None for the time of
            the first of the crops.
        gap_seconds: crops of one camera without a track that are farther apart belong to two
            visits.
        min_score: least cosine; None for the model's threshold.
    """

    crop_ids: tuple[str, ...]
    before: float | None
    gap_seconds: float
    min_score: float | None


@dataclass(frozen=True, slots=True)
class Visit:
    """Crops of one track that look the same, or of one camera and close together in time.

    Attributes:
        camera: that took them; None if unknown.
        track: that they belong to; None if unknown.
        first: time of the first, in seconds since 1970-01-01 UTC.
        last: time of the last.
        hits: the crops, in the order of their times.
    """

    camera: str | None
    track: str | None
    first: float
    last: float
    hits: tuple[Hit, ...]

    @property
    def best(self) -> Hit:
        """The crop with the best score."""
        return max(self.hits, key=lambda hit: hit.score)


@dataclass(frozen=True, slots=True)
class Seen:
    """Earlier visits.

    Attributes:
        before: only visits before this time were looked for.
        min_score: the least cosine that was applied; None if the model has no threshold.
        visits: latest first.
        complete: whether no more crops may match than were looked at.
        calibration: what a score says; None if the model is not calibrated, or several crops were
            given.
    """

    before: float
    min_score: float | None
    visits: tuple[Visit, ...]
    complete: bool
    calibration: Calibration | None


def find_visits(opened: OpenGallery, options: SeenOptions) -> Seen:
    """Find earlier visits of the person that some crops show.

    Args:
        opened: the gallery and its model.
        options: what is asked for.

    Returns:
        The visits.

    Raises:
        NotFound: the only crop does not exist.
        InvalidInput: no crop exists, or their embeddings cancel out.
    """
    gallery, calibration = opened.gallery, opened.model.manifest.calibration
    (query,) = queries_of(stored_shots(gallery, options.crop_ids, None), combine=True)
    own = gallery.crops(Filter(crop_ids=query.crop_ids))
    before = options.before
    if before is None:
        before = min((time_of(crop) for crop in own), default=0.0)
    # Crops without a timestamp are judged by the time they were added.
    where = Filter(expired_before=before)
    (hits,) = gallery.query(query.embedding[None], MOST_CROPS, where)
    least = options.min_score
    if least is None and calibration is not None:
        least = calibration.threshold
    near = [hit for hit in hits if least is None or hit.score >= least]
    visits = visits_of(
        (hit for hit in near if hit.crop.crop_id not in query.crop_ids), options.gap_seconds
    )
    return Seen(
        before=before,
        min_score=least,
        visits=tuple(visits),
        complete=len(near) < MOST_CROPS,
        calibration=calibration if len(query.shots) == 1 else None,
    )


def visits_of(hits: Iterable[Hit], gap_seconds: float) -> list[Visit]:
    """Group crops into visits: by track, or if that is unknown, by camera and pauses.

    Args:
        hits: in any order.
        gap_seconds: a longer pause begins another visit.

    Returns:
        The visits, latest first.
    """
    groups: list[list[Hit]] = []
    for hit in sorted(hits, key=_by_track):
        if groups and _belongs(groups[-1][-1].crop, hit.crop, gap_seconds):
            groups[-1].append(hit)
        else:
            groups.append([hit])
    visits = [_visit(group) for group in groups]
    return sorted(visits, key=lambda visit: visit.last, reverse=True)


def _by_track(hit: Hit) -> tuple[str, str, float]:
    crop = hit.crop
    return crop.camera or "", crop.track or "", time_of(crop)


def _belongs(before: Crop, crop: Crop, gap_seconds: float) -> bool:
    near = crop.track is not None or time_of(crop) - time_of(before) <= gap_seconds
    return (crop.camera, crop.track) == (before.camera, before.track) and near


def _visit(hits: Sequence[Hit]) -> Visit:
    crops = [hit.crop for hit in hits]
    times = time_of(crops[0]), time_of(crops[-1])
    return Visit(crops[0].camera, crops[0].track, *times, tuple(hits))
