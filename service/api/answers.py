"""What answers carry; OpenAPI is made from them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, Field

from service.erasure.doomed import Doomed
from service.gallery.base import Crop, GalleryStats, Origin, SnapshotRecord
from service.gallery.filter_warnings import FilterWarning, WarningCode
from service.model.manifest import Accuracy, Calibration


class FieldError(BaseModel):
    """A field that broke a rule."""

    where: str = Field(description="body, query, path or header")
    field: str
    detail: str


class ImageProblem(BaseModel):
    """What is wrong with one image, in the words of RFC 9457."""

    type: str = Field(description="identifies the kind of problem")
    title: str
    status: int
    detail: str = Field(description="which value broke which rule")
    code: str = Field(description="for programs: one word an error class")


class Problem(ImageProblem):
    """What went wrong (RFC 9457)."""

    instance: str | None = Field(default=None, description="the path that was asked")
    request_id: str | None = Field(default=None, description="the answer's X-Request-ID")
    errors: list[FieldError] | None = Field(default=None, description="one entry a broken field")
    crops: int | None = Field(
        default=None, description="of code unconfirmed: how many crops would be erased"
    )
    oldest: float | None = Field(
        default=None,
        description="of code unconfirmed: time of the oldest, seconds since 1970-01-01 UTC",
    )
    newest: float | None = Field(
        default=None, description="of code unconfirmed: time of the newest"
    )


class ModelName(BaseModel):
    """Which network made the embeddings."""

    name: str = Field(examples=["hhcl-mobilenetv2"])
    sha256: str = Field(examples=["1f0e7c2d…"])


class CropRecord(BaseModel):
    """A crop as the gallery remembers it."""

    crop_id: str = Field(examples=["bounding_box_test/0002_c1s1_000451_03.jpg"])
    identity: str | None = Field(examples=["0002"])
    camera: str | None = Field(examples=["c1"])
    timestamp: float | None = Field(
        description="seconds since 1970-01-01 UTC", examples=[1_700_000_000.0]
    )
    digest: str | None = Field(description="SHA-256 of the image file", examples=["9f86d081…"])
    origin: Origin = Field(
        description="where the identity comes from: given with the crop, a cluster, or corrected "
        "by hand"
    )
    added: float | None = Field(
        description="when the gallery took it, seconds since 1970-01-01 UTC; null for crops of "
        "collections that do not know",
        examples=[1_700_000_000.0],
    )

    @classmethod
    def of(cls, crop: Crop) -> Self:
        """The record of a crop."""
        return cls(
            crop_id=crop.crop_id,
            identity=crop.identity,
            camera=crop.camera,
            timestamp=crop.timestamp,
            digest=crop.digest,
            origin=crop.origin,
            added=crop.added,
        )


class WarningRecord(BaseModel):
    """What is odd about a filter that is allowed all the same."""

    code: WarningCode = Field(description="for programs: what kind of thing")
    field: str = Field(description="the field of the request", examples=["cameras"])
    values: list[str] = Field(
        description="names that the gallery does not have, the first twenty", examples=[["Cam-4"]]
    )
    detail: str = Field(
        description="a sentence for people",
        examples=["No crop of gallery 'lobby' has the camera 'Cam-4'; its cameras are 'c1', 'c3'."],
    )

    @classmethod
    def all_of(cls, warnings: Sequence[FilterWarning]) -> list[Self]:
        """The records of some warnings."""
        return [
            cls(code=one.code, field=one.field, values=list(one.values), detail=one.detail)
            for one in warnings
        ]


class StoredCrop(CropRecord):
    """A crop that was just stored."""

    warnings: list[WarningRecord] = Field(description="what was assumed for its time")


class MatchRecord(CropRecord):
    """A crop that reached ``min_score``."""

    rank: int = Field(description="1 is the best", examples=[1])
    score: float = Field(description="cosine with the query, -1..1", examples=[0.83])
    probability: float | None = Field(
        description="that this crop and the query show the same identity; null where the model is "
        "not calibrated or several pictures make the query",
        examples=[0.97],
    )
    standardised_score: float | None = Field(
        description="cosine of the embeddings standardised by their cameras, which ranks the "
        "match; null where the search was not standardised",
        examples=[0.41],
    )
    rerank_distance: float | None = Field(
        description="k-reciprocal distance, smaller is closer; null unless re-ranked",
        examples=[0.21],
    )
    identity_score: float | None = Field(
        description="what ranks the identity: cosine of its best crop, or the mean of several; "
        "null unless group_by=identity",
        examples=[0.78],
    )
    group_size: int | None = Field(
        description="crops of this identity that count: those found for identity_score=best, all "
        "that pass the filter for mean and top3; null unless group_by=identity",
        examples=[4],
    )


class QueryImage(BaseModel):
    """An uploaded image."""

    index: int = Field(description="position in the request, from 0", examples=[0])
    file: str = Field(description="its file name", examples=["query.jpg"])


class Nearest(BaseModel):
    """The best score there was, for people who wonder why nothing matched."""

    score: float = Field(examples=[0.83])
    probability: float | None = Field(examples=[0.97])


class SearchEntry(BaseModel):
    """The answer to one query."""

    images: list[QueryImage] = Field(description="the images that made this query")
    crop_ids: list[str] = Field(description="the crops of the gallery that made this query")
    status: Literal["matched", "unknown", "error"] = Field(
        description="unknown: no crop reached min_score; error: the image could not be used"
    )
    matches: list[MatchRecord] = Field(description="best first")
    nearest: Nearest | None = Field(
        description="the best score, matching or not; null where no crop took part"
    )
    considered: int | None = Field(
        description="crops that took part after the filters, the query's own camera and the query "
        "itself; null where the image could not be used",
        examples=[1200],
    )
    error: ImageProblem | None = Field(default=None, description="what is wrong with the image")


class SearchAnswer(BaseModel):
    """Answer to ``POST /search``."""

    model: ModelName
    gallery: str
    min_score: float | None = Field(description="the line that was drawn; null where none was")
    took_ms: dict[str, float] = Field(
        description="milliseconds of decode, embed, query, rerank and in total",
        examples=[{"decode": 1.9, "embed": 31.2, "query": 0.8, "total": 35.1}],
    )
    results: list[SearchEntry] = Field(
        description="one an image, then one a crop id, in order; combined: one, then those that "
        "are unusable"
    )
    warnings: list[WarningRecord] = Field(description="what is odd about the filter")


class EmbeddingEntry(BaseModel):
    """The embedding of one image, or why there is none."""

    image: QueryImage
    embedding: list[float] | str | None = Field(description="unit length")
    error: ImageProblem | None = None


class EmbedAnswer(BaseModel):
    """Answer to ``POST /embed``."""

    model: ModelName
    dimension: int
    took_ms: dict[str, float]
    results: list[EmbeddingEntry] = Field(description="one an image, in order")


class GalleryRecord(BaseModel):
    """A gallery and its counts."""

    name: str
    model_sha256: str = Field(description="the only model whose embeddings it takes")
    dimension: int
    created: float = Field(description="seconds since 1970-01-01 UTC")
    crops: int
    identities: int
    cameras: dict[str, int] = Field(description="crops of each camera")
    bytes_on_disk: int
    damaged: int = Field(description="crops left out because their row on disk is damaged")
    pictures: int = Field(description="crops whose picture is stored")
    store_crops: bool = Field(description="whether pictures of new crops are stored")
    keep_for: float | None = Field(
        description="seconds after which a crop is erased; null keeps crops until they are deleted"
    )
    join: bool = Field(description="whether new crops without identity join the nearest group")
    oldest: float | None = Field(
        description="least timestamp of a crop, or where it has none the time it was added; null "
        "where nothing is known"
    )

    @classmethod
    def of(cls, stats: GalleryStats) -> Self:
        """The record of a gallery."""
        return cls(**asdict(stats))


class GalleryForecast(BaseModel):
    """What a change of a gallery would erase; nothing was changed."""

    dry_run: Literal[True] = True
    deleted: int = Field(description="crops that `keep_for` would erase within a minute or so")
    pictures: int = Field(
        description="stored pictures that would be erased, with these crops or by `store_crops`"
    )
    identities: int = Field(description="distinct identities among the crops")
    cameras: dict[str, int] = Field(description="crops of each camera")
    oldest: float | None = Field(
        description="least time of a crop that would be erased, seconds since 1970-01-01 UTC; "
        "null where none would be"
    )
    newest: float | None = Field(description="greatest time of such a crop")
    snapshots: list[str] = Field(description="snapshots that would still hold one of them")

    @classmethod
    def of(cls, doomed: Doomed) -> Self:
        """The record of what is doomed."""
        receipt = doomed.receipt
        return cls(
            deleted=receipt.crops,
            pictures=receipt.pictures,
            identities=receipt.identities,
            cameras=receipt.cameras,
            oldest=doomed.oldest,
            newest=doomed.newest,
            snapshots=list(receipt.snapshots),
        )


class Galleries(BaseModel):
    """Every gallery, by name."""

    galleries: list[GalleryRecord]


class CropPage(BaseModel):
    """Part of a listing, in the order of the crop ids."""

    crops: list[CropRecord]
    cursor: str | None = Field(description="asks for the next page; null on the last one")
    warnings: list[WarningRecord] = Field(description="what is odd about the filter")


class EnrolmentEntry(BaseModel):
    """What became of one crop."""

    crop_id: str
    status: Literal["created", "replaced", "error"]
    identity: str | None = Field(
        description="who it shows: as given, or the group it joined; null where nobody knows",
        examples=["0052"],
    )
    origin: Origin | None = Field(
        description="where the identity comes from; null where the image could not be used"
    )
    error: ImageProblem | None = None


class EnrolmentAnswer(BaseModel):
    """Answer to a batch of crops; whatever it calls created or replaced is on disk."""

    model: ModelName
    took_ms: dict[str, float]
    results: list[EnrolmentEntry] = Field(description="one a crop, in order")
    warnings: list[WarningRecord] = Field(description="what was assumed for their times")


class SnapshotEntry(BaseModel):
    """A gallery as it was at one moment."""

    snapshot_id: str = Field(examples=["20261121T081500123-9f3c"])
    gallery: str
    model_sha256: str = Field(description="the model whose embeddings it holds")
    crops: int
    bytes: int = Field(description="size of its file")
    created: float = Field(description="seconds since 1970-01-01 UTC")

    @classmethod
    def of(cls, record: SnapshotRecord) -> Self:
        """The entry of a record."""
        return cls(**asdict(record))


class Snapshots(BaseModel):
    """Snapshots of a gallery."""

    snapshots: list[SnapshotEntry] = Field(description="oldest first")


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ModelRecord(ModelName):
    """What the manifest says of the model."""

    input_height: int
    input_width: int
    dimension: int
    metric: str
    created: str | None
    training_data: str | None
    licence: str | None
    accuracy: list[Accuracy]
    calibration: Calibration | None


class Providers(BaseModel):
    """Where the work is done: cuda or cpu."""

    network: str = Field(description="ONNX Runtime")
    search: str = Field(description="FAISS")


class Limits(BaseModel):
    """What a request may cost."""

    max_image_bytes: int
    max_image_pixels: int
    max_images: int
    max_request_bytes: int
    max_requests: int
    max_import_bytes: int
    max_batch: int
    max_queue: int


class Info(BaseModel):
    """Answer to ``GET /info``."""

    version: str
    model: ModelRecord
    providers: Providers
    limits: Limits
    galleries: list[GalleryRecord]
