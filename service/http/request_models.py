"""Models of requests: forms, queries and JSON bodies. The API document is generated from them."""

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
    TRACK,
    ZONE,
    Body,
    CropId,
    Cursor,
    FewValues,
    FrameScore,
    JsonBody,
    Label,
    Tiles,
    Zone,
    ZonedTime,
)
from service.values.timestamps import Moment
from service.values.vocabulary import GroupBy

MAX_TOP_K = 1000
MAX_ENTRIES = 1000  # the most that REID_MAX_IMAGES can allow

MAX_KEEP_FOR = 100 * 366 * 86_400.0  # seconds; a hundred years
MAX_COUNT = 2**53  # the largest integer that every JSON reader represents exactly

KeepFor = Annotated[float, Field(gt=0, le=MAX_KEEP_FOR, allow_inf_nan=False)]


class SearchFields(SearchFilter):
    """Fields of every search; :class:`service.api.filters.SearchFilter` has the filters."""

    crop_ids: list[CropId] = Field(
        default=[],
        description="crops of the gallery to search for, in addition to images or vectors or "
        "instead of them; in a form, repeat the field for more",
    )
    query_tracks: list[Label] = Field(
        default=[],
        description="tracks of the gallery to search for: all crops of a track make one query. If "
        "several cameras have a track of this name, `camera` must say which one is meant",
    )
    gallery: str = Field(default="default", max_length=64, description="name of the gallery")
    top_k: int | None = Field(
        default=None, ge=1, le=MAX_TOP_K, description="most matches per query; default: REID_TOP_K"
    )
    camera: Label | None = Field(
        default=None,
        description="camera that took the images, or has the tracks; a crop of the gallery has its "
        "own",
    )
    exclude_same_camera: bool = Field(
        default=False,
        description="leave out crops from the query's own camera; images need `camera`",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="minimum cosine of a match; default: the model's calibrated threshold; with -1 "
        "every crop matches",
    )
    rerank: bool = Field(default=False, description="order by k-reciprocal neighbours")
    rerank_top: int = Field(
        default=100, ge=1, le=1000, description="how many of the nearest crops to re-rank"
    )
    group_by: GroupBy = Field(
        default="none",
        description="identity: one match per identity, its best crop; track: one per camera and "
        "track. A crop without an identity, or without a track, is a match of its own",
    )
    identity_score: IdentityScore = Field(
        default="best",
        description="with group_by=identity, what ranks an identity: the cosine of its best crop, "
        "or the mean over all its crops, or over its three best",
    )
    combine: bool = Field(
        default=False,
        description="all images, vectors and crops show one person and make one query",
    )
    standardise: bool | None = Field(
        default=None,
        description="remove each camera's own mean and spread from the embeddings before ranking; "
        "default: if a camera of the gallery has enough crops",
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
        description="crops of people: JPEG, PNG, WebP, BMP or TIFF; repeat the field for more; "
        "optional if `crop_ids` or `query_tracks` are given",
    )
    detect: bool = Field(
        default=False,
        description="the images are whole frames: search for each person that is found on them",
    )
    tiles: Tiles = "1x1"
    detect_score: FrameScore = None

    @model_validator(mode="after")
    def _detects_on_images(self) -> Self:
        if self.detect and not self.images:
            raise ValueError("detect needs images: frames to find persons on")
        if self.detect and self.combine:
            raise ValueError("combine makes one person of those that detect finds: leave one out")
        if not self.detect and (self.tiles != "1x1" or self.detect_score is not None):
            raise ValueError("tiles and detect_score need detect=true")
        return self

    @model_validator(mode="after")
    def _has_something_to_search_for(self) -> Self:
        if not (self.images or self.crop_ids or self.query_tracks):
            raise ValueError(
                "send images or crop_ids or query_tracks: at least one picture to search for"
            )
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


class DetectForm(Body):
    """``POST /detect``."""

    images: list[UploadFile] = Field(
        min_length=1, description="whole frames: JPEG, PNG, WebP, BMP or TIFF"
    )
    tiles: Tiles = "1x1"
    score: FrameScore = None


class CropForm(Body):
    """``PUT /galleries/{gallery}/crops/{crop_id}``."""

    image: UploadFile = Field(description="JPEG, PNG, WebP, BMP or TIFF")
    identity: Label | None = Field(default=None, description="the person it shows, if known")
    camera: Label | None = Field(default=None, description="the camera that took it, if known")
    track: Label | None = Field(default=None, description=TRACK)
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = Field(default=None, description="when it was taken, if known")

    def crop(self, crop_id: str) -> Crop:
        """Make the crop that the fields describe."""
        moment = seconds_of(self.timestamp)
        return Crop(crop_id, self.identity, self.camera, moment, track=self.track)


class CropEntry(JsonBody):
    """Metadata of one image of a batch."""

    crop_id: CropId
    identity: Label | None = None
    camera: Label | None = None
    track: Label | None = Field(default=None, description=TRACK)
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = None

    @property
    def crop(self) -> Crop:
        """Make the crop that the entry describes."""
        moment = seconds_of(self.timestamp)
        return Crop(self.crop_id, self.identity, self.camera, moment, track=self.track)


class CropEntries(RootModel[Annotated[list[CropEntry], Field(max_length=MAX_ENTRIES)]]):
    """Metadata of the images of a batch, in their order."""

    # A separate model: FastAPI takes the length of a plain list before it is validated, and fails
    # if the client sent a file in its place.


class CropsForm(Body):
    """``POST /galleries/{gallery}/crops``."""

    images: list[UploadFile] = Field(
        min_length=1, description="crops: JPEG, PNG, WebP, BMP or TIFF"
    )
    crops: Annotated[Json[CropEntries], FewValues] = Field(
        description="JSON list; entry i describes image i",
        examples=['[{"crop_id": "0002_c1s1_000451_03.jpg", "identity": "0002", "camera": "c1"}]'],
    )

    @model_validator(mode="after")
    def _has_one_entry_per_image(self) -> Self:
        crops = len(self.crops.root)
        if crops != len(self.images):
            raise ValueError(
                f"{crops} crops for {len(self.images)} images: entry i must describe image i"
            )
        return self


def seconds_of(moment: Moment | None) -> float | None:
    """The seconds since 1970-01-01 UTC of a time, as a crop stores it."""
    return None if moment is None else moment.seconds


class ListQuery(CropFilter):
    """``GET /galleries/{gallery}/crops``."""

    limit: int = Field(default=100, ge=1, le=1000, description="most crops per page")
    cursor: Cursor | None = Field(default=None, description="the previous page's cursor")
    format: ListFormat | None = Field(
        default=None,
        description="json: one page; csv, ndjson and parquet: every crop, streamed. Default: what "
        "the header `Accept` names, otherwise json",
    )
    embeddings: bool = Field(
        default=False,
        description="with csv, ndjson and parquet: add the column `embedding`, so that the file "
        "can be imported again",
    )

    @property
    def is_paged(self) -> bool:
        """Whether the caller asks for one page."""
        return not self.model_fields_set.isdisjoint({"limit", "cursor"})


class DeleteBody(CropFilter):
    """``POST /galleries/{gallery}/crops/delete``."""

    model_config = ConfigDict(strict=True)

    dry_run: bool = Field(default=False, description="only report what would be deleted")
    all: bool = Field(default=False, description="must be true if no filter is given")

    @model_validator(mode="after")
    def _deleting_all_is_said(self) -> Self:
        empty = filter_of(self) == Filter()
        if empty and not self.all:
            raise ValueError("an empty filter would delete every crop: confirm it with all=true")
        if self.all and not empty:
            raise ValueError("send either all=true or a filter, not both")
        return self


class GalleryBody(JsonBody):
    """``POST /galleries``."""

    name: str = Field(
        max_length=MAX_TEXT,
        description="1 to 64 characters of a-z, 0-9, _ and -; starts with a letter or digit",
        examples=["lobby"],
    )
    model: str | None = Field(
        default=None,
        max_length=MAX_TEXT,
        description="name of a model of GET /models; default: the running one",
    )
    store_crops: bool = Field(
        default=False, description="store the uploaded pictures, not only their embeddings"
    )
    keep_for: KeepFor | None = Field(
        default=None, description="seconds after which a crop is erased"
    )
    join: bool = Field(
        default=False, description="new crops without an identity join the nearest group"
    )

    @property
    def options(self) -> GalleryOptions:
        """The gallery options that these fields set."""
        return GalleryOptions(self.store_crops, self.keep_for, self.join)


class GalleryChanges(JsonBody):
    """``PATCH /galleries/{gallery}``; absent fields stay as they are."""

    store_crops: bool | None = Field(
        default=None, description="store uploaded pictures; false erases the stored ones"
    )
    keep_for: KeepFor | None = Field(
        default=None, description="seconds after which a crop is erased; null keeps crops forever"
    )
    join: bool | None = Field(
        default=None, description="new crops without an identity join the nearest group"
    )

    dry_run: bool = Field(default=False, description="only report what would be erased")
    confirm: bool | Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = Field(
        default=None,
        description="required if a shorter `keep_for` erases crops at once: the most crops that "
        "may be erased, as `dry_run` counts them, or true for any number",
        examples=[384],
    )

    def applied_to(self, options: GalleryOptions) -> GalleryOptions:
        """Apply these changes to a gallery's options."""
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
        description="name of a new gallery; default: replace the snapshot's own gallery",
    )
