"""Which crops take part: the one model of a filter, whatever request carries it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from service.values.fields import ZONE, Body, CropId, Label, Zone, ZonedTime
from service.values.names import MAX_NAME, composed

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
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return None


class CropFilter(FilterFields):
    """Every condition."""

    crop_ids: list[CropId] | None = Field(
        default=None, max_length=MAX_IDS, description=f"these crops only; {_SEVERAL}"
    )

    @property
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return self.crop_ids


class SearchFilter(FilterFields):
    """Every condition, where ``crop_ids`` already means the crops that are searched for."""

    among: list[CropId] | None = Field(
        default=None,
        max_length=MAX_IDS,
        description="only these crops of the gallery can match; repeat the field for more",
    )

    @property
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return self.among
