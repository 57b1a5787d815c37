"""Answers for operators: health, version, model and limits."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.galleries import GalleryRecord
from service.api.models import ModelName
from service.values.accuracy import Accuracy, Calibration
from service.values.vocabulary import IdentityLabels


class Alive(BaseModel):
    """The service is alive, or ready."""

    status: Literal["ok"] = "ok"


class ModelRecord(ModelName):
    """The model as its manifest describes it."""

    input_height: int
    input_width: int
    dimension: int
    metric: str
    created: str | None
    training_data: str | None
    licence: str | None
    identity_labels: IdentityLabels = Field(
        default="not known", description="whose labels the network has learned from"
    )
    accuracy: list[Accuracy]
    calibration: Calibration | None


class DetectorRecord(ModelName):
    """The detector as its manifest describes it."""

    input_height: int
    input_width: int
    score: float = Field(description="persons have a score above it, unless the request says more")
    training_data: str | None
    licence: str | None


class Providers(BaseModel):
    """Where the network and the search run: `cuda` or `cpu`."""

    network: str = Field(description="device of ONNX Runtime")
    search: str = Field(description="device of FAISS")


class Limits(BaseModel):
    """What the service accepts per request, and in all."""

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
    detector: DetectorRecord | None = Field(
        default=None, description="finds persons on frames; null if the service has none"
    )
    providers: Providers
    limits: Limits
    galleries: list[GalleryRecord]
