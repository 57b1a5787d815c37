"""Which crops take part: the one model of a filter, whatever request carries it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from service.api.time_warnings import time_warnings
from service.gallery.base import Filter
from service.gallery.filter_warnings import FilterWarning
from service.values.fields import ZONE, Body, CropId, Label, Zone, ZonedTime
from service.values.names import MAX_NAME, composed
from service.values.timestamps import Moment

IdPrefix = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(composed)
]
"""The beginning of a crop's id: blanks count, and it need be no id itself."""

MAX_NAMES = 10_000
"""Most cameras, and most identities, of one filter."""
MAX_IDS = 10_000
"""Most ids of one filter."""

_SEVERAL = "repeat the parameter for more"


class FilterFields(Body):
    """Every condition but the list of ids; all that are given must hold."""

    cameras: list[Label] | None = Field(
        default=None,
        max_length=MAX_NAMES,
        description=f"crops of these cameras only; {_SEVERAL}",
    )
    not_camera: Label | None = Field(default=None, description="no crop of this camera")
    identities: list[Label] | None = Field(
        default=None,
        max_length=MAX_NAMES,
        description=f"crops of these identities only; {_SEVERAL}",
    )
    has_identity: bool | None = Field(
        default=None, description="only crops with, or without, an identity"
    )
    id_prefix: IdPrefix | None = Field(
        default=None, description="crops whose id begins with this text"
    )
    zone: Zone | None = Field(default=None, description=ZONE)
    since: ZonedTime | None = Field(default=None, description="crops taken at this time or later")
    until: ZonedTime | None = Field(default=None, description="crops taken before this time")
    added_since: ZonedTime | None = Field(
        default=None, description="crops added at this time or later"
    )
    added_until: ZonedTime | None = Field(default=None, description="crops added before this time")

    @property
    def where(self) -> Filter:
        """The filter these fields mean."""
        return self._filter(None)

    @property
    def time_warnings(self) -> list[FilterWarning]:
        """What had to be assumed for the times of these fields."""
        return time_warnings(
            {
                "since": self.since,
                "until": self.until,
                "added_since": self.added_since,
                "added_until": self.added_until,
            }
        )

    def _filter(self, crop_ids: list[str] | None) -> Filter:
        return Filter(
            cameras=_frozen(self.cameras),
            not_camera=self.not_camera,
            identities=_frozen(self.identities),
            has_identity=self.has_identity,
            id_prefix=self.id_prefix,
            since=_seconds(self.since),
            until=_seconds(self.until),
            added_since=_seconds(self.added_since),
            added_until=_seconds(self.added_until),
            crop_ids=_frozen(crop_ids),
        )


class CropFilter(FilterFields):
    """Every condition."""

    crop_ids: list[CropId] | None = Field(
        default=None, max_length=MAX_IDS, description=f"these crops only; {_SEVERAL}"
    )

    @property
    def where(self) -> Filter:
        """The filter these fields mean."""
        return self._filter(self.crop_ids)


class SearchFilter(FilterFields):
    """Every condition, where ``crop_ids`` already means the crops that are searched for."""

    among: list[CropId] | None = Field(
        default=None,
        max_length=MAX_IDS,
        description="only these crops of the gallery can match; repeat the field for more",
    )

    @property
    def where(self) -> Filter:
        """The filter these fields mean, whatever the query's own camera."""
        return self._filter(self.among)


def _seconds(moment: Moment | None) -> float | None:
    return None if moment is None else moment.seconds


def _frozen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
