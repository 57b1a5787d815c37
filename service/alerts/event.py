"""Events: a crop that arrived is one that a watch looks for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from service.api.events import EventRecord
from service.values.vocabulary import DeliveryState


@dataclass(frozen=True, slots=True)
class Sighting:
    """A crop that a watch looks for, before it is decided whether it makes an event.

    Attributes:
        watch_id: the watch.
        gallery: the gallery that the crop was added to.
        of: the gallery that it was compared with.
        crop_id: the crop; of a track, the one with the best score.
        digest: of the crop's file.
        camera: that took it, if known.
        track: that it belongs to, if known.
        time: when it was taken, or added if that is unknown, in seconds since 1970-01-01 UTC.
        identity: of the person that it matched; None if nobody, or nobody with a name.
        matched: the crop of gallery ``of`` that it matched; None if it matched nobody.
        score: the best cosine; None if there was nobody to compare it with.
        quiet_seconds: how long the same person causes no second event on the same camera.
        delivered: whether the event has to be delivered.
    """

    watch_id: str
    gallery: str
    of: str
    crop_id: str
    digest: str | None
    camera: str | None
    track: str | None
    time: float
    identity: str | None
    matched: str | None
    score: float | None
    quiet_seconds: float
    delivered: bool

    @property
    def event_id(self) -> str:
        """The id of its event: the same if the same crop, or another of its track, is judged."""
        what = (self.crop_id, self.digest) if self.track is None else (self.camera, self.track)
        return hashlib.sha256(repr((self.watch_id, *what)).encode()).hexdigest()[:32]

    @property
    def subject(self) -> str:
        """Who it is about, as the quiet period counts: a person, or a crop without a name."""
        return subject_of(self.identity, self.matched)


def subject_of(identity: str | None, matched: str | None) -> str:
    """Who an event is about, as the quiet period counts, from whom and which crop it matched."""
    if identity is not None:
        return f"identity {identity}"
    return "unknown" if matched is None else f"crop {matched}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found among crops that were judged.

    Attributes:
        gallery: that they were added to.
        until: what was added until then is judged now, in seconds since 1970-01-01 UTC.
        sightings: in the order of their times.
    """

    gallery: str
    until: float
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event.

    Attributes:
        number: rises with every event of the service.
        event_id: unique in the service.
        watch_id: its watch, which may have been deleted since.
        gallery: the gallery that the crop was added to.
        of: the gallery that it was compared with.
        crop_id: the crop; of a track, the one with the best score.
        camera: that took it, if known.
        track: that it belongs to, if known.
        time: when it was taken, or added if that is unknown, in seconds since 1970-01-01 UTC.
        identity: of the person that it matched.
        matched: the crop that it matched.
        score: the best cosine.
        created: when the event was stored.
        delivery: whether it has reached the address of its watch; None if that has none.
        attempts: how often that was tried.
        next_try: when it is tried next.
        error: why the latest attempt failed.
    """

    number: int
    event_id: str
    watch_id: str
    gallery: str
    of: str
    crop_id: str
    camera: str | None
    track: str | None
    time: float
    identity: str | None
    matched: str | None
    score: float | None
    created: float
    delivery: DeliveryState | None
    attempts: int
    next_try: float | None
    error: str | None


def record_of(event: Event) -> EventRecord:
    """An event as clients and receivers get it."""
    known = {name: getattr(event, name) for name in EventRecord.model_fields}
    return EventRecord(**known)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Selects events; all given conditions must hold.

    Attributes:
        gallery: only events of this gallery.
        visible: only events about people of these galleries; None for all.
        watch_id: only events of this watch.
        cameras: only events of these cameras.
        since: time >= since, in seconds since 1970-01-01 UTC.
        until: time < until.
        delivery: only events whose delivery is in this state.
    """

    gallery: str
    visible: frozenset[str] | None = None
    watch_id: str | None = None
    cameras: frozenset[str] | None = None
    since: float | None = None
    until: float | None = None
    delivery: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of a listing; ``cursor`` requests the next page, None ends it."""

    events: tuple[Event, ...]
    cursor: str | None
