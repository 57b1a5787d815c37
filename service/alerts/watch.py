"""What a watch looks for, where and when."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from service.gallery.base import TOLD, Crop, Filter, time_of
from service.values.vocabulary import WatchFor
from service.values.zones import read_zone

QUIET_SECONDS = 300.0
MQTT = "mqtt"
"""Where events go that are published at the operator's broker."""


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """A part of every day; it may pass midnight.

    Attributes:
        begin: its first minute, 0..1439.
        end: the minute after its last one, 0..1439.
        zone: of the clock that shows them.
    """

    begin: int
    end: int
    zone: str

    def covers(self, moment: float) -> bool:
        """Whether a moment, in seconds since 1970-01-01 UTC, lies in the window."""
        try:
            local = datetime.fromtimestamp(moment, read_zone(self.zone))
        except (OverflowError, OSError, ValueError):  # outside the years of a datetime
            return False
        minute = 60 * local.hour + local.minute
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """What a client wants to be told.

    Attributes:
        gallery: whose new crops are judged.
        of: the gallery that holds whom to compare them with.
        watch_for: whom to look for.
        name: free text; may name a person.
        identities: of gallery ``of``.
        crop_ids: of gallery ``of``.
        cameras: only crops of these cameras; None for all.
        since: only crops taken at this time or later, in seconds since 1970-01-01 UTC.
        until: only crops taken before this time.
        daily: only crops taken in this part of a day.
        min_score: least cosine of a match; None for the model's threshold.
        false_alert_rate: instead of ``min_score``; see :func:`service.alerts.thresholds.threshold`.
        quiet_seconds: how long the same person causes no second event on the same camera.
        deliver_to: address that gets each event, or :data:`MQTT`; None for none.
    """

    gallery: str
    of: str
    watch_for: WatchFor
    name: str | None = None
    identities: tuple[str, ...] = ()
    crop_ids: tuple[str, ...] = ()
    cameras: tuple[str, ...] | None = None
    since: float | None = None
    until: float | None = None
    daily: DailyWindow | None = None
    min_score: float | None = None
    false_alert_rate: float | None = None
    quiet_seconds: float = QUIET_SECONDS
    deliver_to: str | None = None

    @property
    def compared(self) -> Filter:
        """The crops of gallery ``of`` that a new crop is compared with.

        Crops that joined an identity do not count: each would draw the next one.
        """
        if self.watch_for == "crops":
            return Filter(crop_ids=frozenset(self.crop_ids))
        named = frozenset(self.identities) or None
        return Filter(has_identity=True, identities=named, origins=TOLD)

    def covers(self, crop: Crop) -> bool:
        """Whether the place and the time of a crop are watched."""
        if self.cameras is not None and crop.camera not in self.cameras:
            return False
        moment = time_of(crop)
        return (
            (self.since is None or moment >= self.since)
            and (self.until is None or moment < self.until)
            and (self.daily is None or self.daily.covers(moment))
        )

    def as_text(self) -> str:
        """The order as JSON."""
        # Not escaped, because an erasure searches this text for names.
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def read(cls, text: str) -> WatchOrder:
        """Read what :meth:`as_text` wrote."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("identities", "crop_ids", "cameras"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        fields["daily"] = None if fields["daily"] is None else DailyWindow(**fields["daily"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch.

    Attributes:
        watch_id: unique in the service.
        order: what is asked for.
        created: seconds since 1970-01-01 UTC.
        begins: crops that were added later are judged.
        secret: signs what is posted to an address; None without one.
        problem: why it judges nothing at present.
    """

    watch_id: str
    order: WatchOrder
    created: float
    begins: float
    secret: str | None = field(default=None, repr=False)
    problem: str | None = None
