"""JSON bodies with embeddings in place of pictures."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.http.request_models import MAX_ENTRIES, SearchFields, seconds_of
from service.ingest.sent_embeddings import (
    MAX_NUMBERS,
    EmbeddedCrop,
    Embedding,
    decode_embedding,
)
from service.search.shots import SentVector
from service.values.fields import TRACK, ZONE, CropId, JsonBody, Label, Zone, ZonedTime

_LONGEST_TEXT = 1 << 20  # characters of an embedding as text

EmbeddingField = Annotated[
    Annotated[list[float], Field(max_length=MAX_NUMBERS)]
    | Annotated[str, StringConstraints(max_length=_LONGEST_TEXT)],
    Field(
        description="of unit length and of the gallery's model, as `POST /embed` answers it: a "
        "list of numbers, or base64 of little-endian float32",
    ),
]
ModelSha256 = Annotated[
    Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$", max_length=64)] | None,
    Field(
        description="the model that made the embeddings, `model.sha256` of `POST /embed`; if it is "
        "not the gallery's, the request is rejected",
    ),
]


class Vector(JsonBody):
    """An embedding to search for."""

    embedding: EmbeddingField
    camera: Label | None = Field(
        default=None, description="camera that took its picture; default: the request's `camera`"
    )


class VectorSearch(SearchFields):
    """``POST /search`` with embeddings."""

    model_config = ConfigDict(strict=True)

    vectors: list[Vector] = Field(
        default=[],
        max_length=MAX_ENTRIES,
        description="embeddings to search for; optional if `crop_ids` or `query_tracks` are given",
    )
    model_sha256: ModelSha256 = None

    @model_validator(mode="after")
    def _has_something_to_search_for(self) -> Self:
        if not (self.vectors or self.crop_ids or self.query_tracks):
            raise ValueError("send vectors or crop_ids or query_tracks: at least one query")
        placed = self.camera is not None or all(one.camera is not None for one in self.vectors)
        if self.exclude_same_camera and not placed:
            raise ValueError("exclude_same_camera needs camera: the camera of every vector")
        return self

    def sent_vectors(self) -> tuple[SentVector, ...]:
        """Decode the embeddings. Raises InvalidInput, which names the first that is malformed."""
        return tuple(
            SentVector(_decoded(one.embedding, f"vectors[{index}]"), one.camera)
            for index, one in enumerate(self.vectors)
        )


class VectorCropFields(JsonBody):
    """Metadata of a crop that is sent as an embedding."""

    embedding: EmbeddingField
    identity: Label | None = Field(default=None, description="who it shows, if known")
    camera: Label | None = Field(default=None, description="which camera took it, if known")
    track: Label | None = Field(default=None, description=TRACK)
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = Field(default=None, description="when it was taken, if known")

    def embedded(self, crop_id: str, name: str) -> EmbeddedCrop:
        """Decode the embedding.

        Args:
            crop_id: of the crop.
            name: what to call it in messages.

        Raises:
            InvalidInput: the embedding is malformed.
        """
        moment = seconds_of(self.timestamp)
        crop = Crop(crop_id, self.identity, self.camera, moment, track=self.track)
        return EmbeddedCrop(crop, _decoded(self.embedding, name), name)


class VectorCrop(VectorCropFields):
    """``PUT /galleries/{gallery}/crops/{crop_id}`` with an embedding."""

    model_sha256: ModelSha256 = None


class VectorCropEntry(VectorCropFields):
    """One crop of a batch."""

    crop_id: CropId


class VectorCrops(JsonBody):
    """``POST /galleries/{gallery}/crops`` with embeddings."""

    crops: list[VectorCropEntry] = Field(min_length=1, max_length=MAX_ENTRIES)
    model_sha256: ModelSha256 = None

    def embedded(self) -> list[EmbeddedCrop]:
        """Decode the embeddings. Raises InvalidInput, which names the first that is malformed."""
        return [
            one.embedded(one.crop_id, f"crops[{index}]") for index, one in enumerate(self.crops)
        ]


BODIES = (VectorSearch, VectorCrop, VectorCrops)
"""The bodies that the API document describes beside the forms of the same routes."""


def _decoded(given: list[float] | str, name: str) -> Embedding:
    try:
        return decode_embedding(given)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error
