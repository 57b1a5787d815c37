"""What requests carry: forms, queries and JSON bodies; OpenAPI is made from them."""

from dataclasses import replace
from typing import Annotated, Literal, Self

from fastapi import UploadFile
from pydantic import ConfigDict, Field, Json, RootModel, model_validator

from service.api.filters import CropFilter, SearchFilter
from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.filter_fields import filter_of
from service.http.crop_export import ListFormat
from service.search.multi_shot import IdentityScore
from service.values.fields import (
    MAX_TEXT,
    ZONE,
    Body,
    CropId,
    Cursor,
    JsonBody,
    Label,
    Zone,
    ZonedTime,
)
from service.values.timestamps import Moment

MAX_TOP_K = 1000
MAX_ENTRIES = 1000  # as many as REID_MAX_IMAGES can allow

MAX_KEEP_FOR = 100 * 366 * 86_400.0  # seconds; a hundred years
MAX_COUNT = 2**53  # what JSON holds exactly everywhere

KeepFor = Annotated[float, Field(gt=0, le=MAX_KEEP_FOR, allow_inf_nan=False)]


class SearchFields(SearchFilter):
    """What every search takes; :class:`service.api.filters.SearchFilter` has its filters."""

    crop_ids: list[CropId] = Field(
        default=[],
        description="crops of the gallery to search for, beside the images or instead of them; "
        "repeat the field for more",
    )
    gallery: str = Field(default="default", max_length=64, description="name of the gallery")
    top_k: int | None = Field(
        default=None, ge=1, le=MAX_TOP_K, description="most matches an image; REID_TOP_K if absent"
    )
    camera: Label | None = Field(
        default=None,
        description="camera that took the images; a crop of the gallery brings its own",
    )
    exclude_same_camera: bool = Field(
        default=False,
        description="leave out crops of the query's own camera; images need `camera`",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="least cosine of a match; the model's calibrated threshold if absent, "
        "-1 lets everything match",
    )
    rerank: bool = Field(default=False, description="order by k-reciprocal neighbours")
    rerank_top: int = Field(
        default=100, ge=1, le=1000, description="how many of the nearest crops are re-ranked"
    )
    group_by: Literal["none", "identity"] = Field(
        default="none", description="identity: one match an identity, its best crop"
    )
    identity_score: IdentityScore = Field(
        default="best",
        description="with group_by=identity, what ranks an identity: its best crop's cosine, the "
        "mean of all its crops', or of its three best",
    )
    combine: bool = Field(
        default=False, description="all images and crops show one person and make one query"
    )
    standardise: bool | None = Field(
        default=None,
        description="rank by embeddings from which each camera's own mean and spread were taken; "
        "absent: where a camera of the gallery has crops enough",
    )

    @model_validator(mode="after")
    def _grouping_is_consistent(self) -> Self:
        if self.identity_score != "best" and self.group_by != "identity":
            raise ValueError(f"identity_score {self.identity_score} needs group_by=identity")
        return self


class SearchForm(SearchFields):
    """``POST /search`` with images."""

    images: list[UploadFile] = Field(
        default=[],
        description="crops of people: JPEG, PNG, WebP, BMP or TIFF; repeat the field for more; may "
        "be absent where `crop_ids` are given",
    )

    @model_validator(mode="after")
    def _has_something_to_search_for(self) -> Self:
        if not self.images and not self.crop_ids:
            raise ValueError("images or crop_ids are needed: at least one picture to search for")
        if self.exclude_same_camera and self.camera is None and self.images:
            raise ValueError("exclude_same_camera needs camera: the camera that took the images")
        return self


class EmbedForm(Body):
    """``POST /embed``."""

    images: list[UploadFile] = Field(
        min_length=1, description="crops: JPEG, PNG, WebP, BMP or TIFF"
    )
    encoding: Literal["float", "base64"] = Field(
        default="float",
        description="float: a JSON list; base64: little-endian float32, a fifth of the size",
    )


class CropForm(Body):
    """``PUT /galleries/{gallery}/crops/{crop_id}``."""

    image: UploadFile = Field(description="JPEG, PNG, WebP, BMP or TIFF")
    identity: Label | None = Field(default=None, description="who it shows, where known")
    camera: Label | None = Field(default=None, description="which camera took it, where known")
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = Field(default=None, description="when it was taken, where known")

    def crop(self, crop_id: str) -> Crop:
        """The crop of this id that the fields describe."""
        return Crop(crop_id, self.identity, self.camera, seconds_of(self.timestamp))


class CropEntry(JsonBody):
    """What is known of one image of a batch."""

    crop_id: CropId
    identity: Label | None = None
    camera: Label | None = None
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = None

    @property
    def crop(self) -> Crop:
        """The crop that the entry describes."""
        return Crop(self.crop_id, self.identity, self.camera, seconds_of(self.timestamp))


class CropEntries(RootModel[Annotated[list[CropEntry], Field(max_length=MAX_ENTRIES)]]):
    """What is known of the images of a batch, one after the other."""

    # A model of its own: FastAPI asks a plain list for its length before anybody has read it, and
    # fails where a file was sent in its place.


class CropsForm(Body):
    """``POST /galleries/{gallery}/crops``."""

    images: list[UploadFile] = Field(
        min_length=1, description="crops: JPEG, PNG, WebP, BMP or TIFF"
    )
    crops: Json[CropEntries] = Field(
        description="JSON list, entry i describes image i",
        examples=['[{"crop_id": "0002_c1s1_000451_03.jpg", "identity": "0002", "camera": "c1"}]'],
    )

    @model_validator(mode="after")
    def _one_entry_an_image(self) -> Self:
        crops = len(self.crops.root)
        if crops != len(self.images):
            raise ValueError(
                f"{crops} crops describe {len(self.images)} images; entry i belongs to image i"
            )
        return self


def seconds_of(moment: Moment | None) -> float | None:
    """A time as a crop has it, seconds since 1970-01-01 UTC."""
    return None if moment is None else moment.seconds


class ListQuery(CropFilter):
    """``GET /galleries/{gallery}/crops``."""

    limit: int = Field(default=100, ge=1, le=1000, description="most crops of this page")
    cursor: Cursor | None = Field(default=None, description="the previous page's cursor")
    format: ListFormat | None = Field(
        default=None,
        description="json: one page; csv, ndjson and parquet: every crop, streamed. If absent, the "
        "header `Accept` decides, and without it json",
    )
    embeddings: bool = Field(
        default=False,
        description="of csv, ndjson and parquet: add the column `embedding`, with which the file "
        "can be imported again",
    )

    @property
    def is_paged(self) -> bool:
        """Whether the caller asks for one page."""
        return not self.model_fields_set.isdisjoint({"limit", "cursor"})


class DeleteBody(CropFilter):
    """``POST /galleries/{gallery}/crops/delete``."""

    model_config = ConfigDict(strict=True)

    dry_run: bool = Field(default=False, description="only tell what would be deleted")
    all: bool = Field(default=False, description="must be true where no other field is given")

    @model_validator(mode="after")
    def _deleting_all_is_said(self) -> Self:
        empty = filter_of(self) == Filter()
        if empty and not self.all:
            raise ValueError("an empty filter would delete every crop; say so with all=true")
        if self.all and not empty:
            raise ValueError("all=true and a filter contradict each other")
        return self


class GalleryBody(JsonBody):
    """``POST /galleries``."""

    name: str = Field(
        max_length=MAX_TEXT,
        description="1 to 64 of a-z, 0-9, _ and -; no _ or - first",
        examples=["lobby"],
    )
    model: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="name of a model of GET /models; the running one if absent",
    )
    store_crops: bool = Field(
        default=False, description="keep the uploaded pictures, not only their embeddings"
    )
    keep_for: KeepFor | None = Field(
        default=None, description="seconds after which a crop is erased"
    )
    join: bool = Field(
        default=False, description="new crops without identity join the nearest group"
    )

    @property
    def options(self) -> GalleryOptions:
        """The options these fields mean."""
        return GalleryOptions(self.store_crops, self.keep_for, self.join)


class GalleryChanges(JsonBody):
    """``PATCH /galleries/{gallery}``; a field that is absent stays as it is."""

    store_crops: bool | None = Field(
        default=None, description="keep uploaded pictures; false erases those that are stored"
    )
    keep_for: KeepFor | None = Field(
        default=None, description="seconds after which a crop is erased; null keeps crops for good"
    )
    join: bool | None = Field(
        default=None, description="new crops without identity join the nearest group"
    )

    dry_run: bool = Field(default=False, description="only tell what would be erased")
    confirm: bool | Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = Field(
        default=None,
        description="needed where a shorter `keep_for` erases crops at once: the most crops that "
        "may go, as `dry_run` counts them, or true for any number",
        examples=[384],
    )

    def applied_to(self, options: GalleryOptions) -> GalleryOptions:
        """The options after these changes."""
        changes = self.model_dump(exclude_unset=True, exclude={"dry_run", "confirm"})
        for name in ("store_crops", "join"):
            if changes.get(name) is None:
                changes.pop(name, None)
        return replace(options, **changes)


class RestoreBody(Body):
    """``POST /galleries/{gallery}/snapshots/{snapshot_id}/restore``."""

    into: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="name of a new gallery; the snapshot's own is replaced if absent",
    )
