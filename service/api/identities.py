"""Requests and answers about identities."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.api.filters import CropFilter
from service.api.warnings import WarningRecord
from service.values.cluster_rule import ClusterRule
from service.values.fields import CropId, Cursor, JsonBody, Label
from service.values.vocabulary import Origin

MAX_CROP_IDS = 10_000
_RULE = ClusterRule()

CropIds = Annotated[
    list[CropId], Field(min_length=1, max_length=MAX_CROP_IDS, description="crops of the gallery")
]


class IdentityQuery(CropFilter):
    """``GET /galleries/{gallery}/identities``; the filter says which crops count."""

    limit: int = Field(default=100, ge=1, le=1000, description="maximum identities per page")
    cursor: Cursor | None = Field(default=None, description="cursor of the previous page")


class LabelBody(JsonBody):
    """``POST /galleries/{gallery}/identities/label``."""

    crop_ids: CropIds
    identity: Label | None = Field(
        description="the person they show; null marks them as an unknown person, permanently"
    )


class MergeBody(JsonBody):
    """``POST /galleries/{gallery}/identities/merge``."""

    identities: list[Label] = Field(
        min_length=1, max_length=1000, description="identities that are the same person"
    )
    into: Label = Field(description="the name they get: a new one or an existing one")


class SplitBody(JsonBody):
    """``POST /galleries/{gallery}/identities/split``."""

    crop_ids: CropIds
    into: Label | None = Field(
        default=None, description="the identity that these crops get; default: a new name"
    )


class ClusterBody(CropFilter):
    """``POST /galleries/{gallery}/cluster``; the filter says which crops take part."""

    model_config = ConfigDict(strict=True)

    eps: float = Field(
        default=_RULE.eps,
        gt=0.0,
        lt=1.0,
        description="Jaccard distance up to which crops are neighbours; a larger one groups more",
    )
    min_samples: int = Field(
        default=_RULE.min_samples,
        ge=1,
        le=1000,
        description="neighbours that make a crop the core of a group, including itself",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="minimum cosine of neighbours; default: the model's calibrated threshold",
    )
    standardise: bool = Field(
        default=_RULE.standardise,
        description="remove what a camera does to all of its crops alike",
    )


class CorrectionRecord(BaseModel):
    """What a correction did."""

    identity: str | None = Field(description="the identity of the crops now", examples=["anna"])
    crops: int = Field(description="crops that the correction covers")
    changed: int = Field(
        description="crops whose identity or origin changed; a split also fixes the crops that stay"
    )


class IdentityRecord(BaseModel):
    """One person of a gallery."""

    identity: str = Field(examples=["person-0001"])
    crops: int
    cameras: dict[str, int] = Field(description="crops per camera", examples=[{"c1": 4}])
    first: float | None = Field(description="earliest timestamp, seconds since 1970-01-01 UTC")
    last: float | None = Field(description="latest timestamp")
    example: str = Field(description="id of one of the crops")
    origins: dict[Origin, int] = Field(description="crops by origin of the identity")


class IdentityPage(BaseModel):
    """One page of a listing, in the order of the names."""

    identities: list[IdentityRecord]
    cursor: str | None = Field(description="pass it to get the next page; null on the last page")
    total: int = Field(description="identities on all pages")
    unnamed: int = Field(description="crops without an identity")
    warnings: list[WarningRecord] = Field(description="what looks wrong with the filter")
