"""What requests and answers about identities carry."""

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

    limit: int = Field(default=100, ge=1, le=1000, description="most identities of this page")
    cursor: Cursor | None = Field(default=None, description="the previous page's cursor")


class LabelBody(JsonBody):
    """``POST /galleries/{gallery}/identities/label``."""

    crop_ids: CropIds
    identity: Label | None = Field(
        description="who they show; null says that they show nobody who is known, for good"
    )


class MergeBody(JsonBody):
    """``POST /galleries/{gallery}/identities/merge``."""

    identities: list[Label] = Field(
        min_length=1, max_length=1000, description="identities that are one person"
    )
    into: Label = Field(description="their name from now on, a new one or one that is there")


class SplitBody(JsonBody):
    """``POST /galleries/{gallery}/identities/split``."""

    crop_ids: CropIds
    into: Label | None = Field(
        default=None, description="the identity these crops get; a new name is made up if absent"
    )


class ClusterBody(CropFilter):
    """``POST /galleries/{gallery}/cluster``; the filter says which crops take part."""

    model_config = ConfigDict(strict=True)

    eps: float = Field(
        default=_RULE.eps,
        gt=0.0,
        lt=1.0,
        description="Jaccard distance up to which crops are neighbours; larger groups more",
    )
    min_samples: int = Field(
        default=_RULE.min_samples,
        ge=1,
        le=1000,
        description="neighbours that make a crop the core of a group, itself included",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="least cosine of neighbours; the model's calibrated threshold if absent",
    )
    standardise: bool = Field(
        default=_RULE.standardise,
        description="take out what a camera does to all of its crops alike",
    )


class CorrectionRecord(BaseModel):
    """What a correction did."""

    identity: str | None = Field(description="what the crops are called now", examples=["anna"])
    crops: int = Field(description="crops the correction is about")
    changed: int = Field(
        description="crops that changed, in identity or origin; a split holds those that stay, too"
    )


class IdentityRecord(BaseModel):
    """One person of a gallery."""

    identity: str = Field(examples=["person-0001"])
    crops: int
    cameras: dict[str, int] = Field(description="crops of each camera", examples=[{"c1": 4}])
    first: float | None = Field(description="least timestamp, seconds since 1970-01-01 UTC")
    last: float | None = Field(description="greatest timestamp")
    example: str = Field(description="id of one of the crops")
    origins: dict[Origin, int] = Field(description="crops by where the identity comes from")


class IdentityPage(BaseModel):
    """Part of a listing, in the order of the names."""

    identities: list[IdentityRecord]
    cursor: str | None = Field(description="asks for the next page; null on the last one")
    total: int = Field(description="identities of all pages")
    unnamed: int = Field(description="crops without an identity")
    warnings: list[WarningRecord] = Field(description="what is odd about the filter")
