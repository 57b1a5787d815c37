"""Which crops take part: one model of a filter for every request that has one."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from service.values.fields import ZONE, Body, CropId, Label, Zone, ZonedTime
from service.values.names import MAX_NAME, composed

IdPrefix = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(composed)
]
"""The beginning of a crop's id; blanks count, and it need not be a valid id itself."""

MAX_NAMES = 10_000
"""Maximum cameras, maximum tracks, and maximum identities, per filter."""
MAX_IDS = 10_000
"""Maximum ids per filter."""

_SEVERAL = "repeat the parameter for more"


class FilterFields(Body):
    """All conditions except the list of ids; a crop must meet every condition given."""

    cameras: list[Label] | None = Field(
        default=None,
        max_length=MAX_NAMES,
        description=f"only crops of these cameras; {_SEVERAL}",
    )
    tracks: list[Label] | None = Field(
        default=None,
        max_length=MAX_NAMES,
        description="only crops of tracks with these names; cameras may use the same names, so add "
        f"`cameras` to mean one camera's; {_SEVERAL}",
    )
    not_camera: Label | None = Field(default=None, description="leave out crops of this camera")
    identities: list[Label] | None = Field(
        default=None,
        max_length=MAX_NAMES,
        description=f"only crops of these identities; {_SEVERAL}",
    )
    has_identity: bool | None = Field(
        default=None, description="only crops with, or without, an identity"
    )
    id_prefix: IdPrefix | None = Field(
        default=None, description="only crops whose id starts with this text"
    )
    zone: Zone | None = Field(default=None, description=ZONE)
    since: ZonedTime | None = Field(
        default=None, description="only crops taken at this time or later"
    )
    until: ZonedTime | None = Field(default=None, description="only crops taken before this time")
    added_since: ZonedTime | None = Field(
        default=None, description="only crops added at this time or later"
    )
    added_until: ZonedTime | None = Field(
        default=None, description="only crops added before this time"
    )

    @property
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return None


class CropFilter(FilterFields):
    """Every condition."""

    crop_ids: list[CropId] | None = Field(
        default=None, max_length=MAX_IDS, description=f"only these crops; {_SEVERAL}"
    )

    @property
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return self.crop_ids


class SearchFilter(FilterFields):
    """All conditions of a search, in which ``crop_ids`` already names the crops to search for."""

    among: list[CropId] | None = Field(
        default=None,
        max_length=MAX_IDS,
        description="only these crops of the gallery may match; repeat the field for more",
    )

    @property
    def ids(self) -> list[str] | None:
        """The only crops that may pass; None lets every id pass."""
        return self.among
