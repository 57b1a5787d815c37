"""Answers for operators: is it alive, what is it, what may a request cost?"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.galleries import GalleryRecord
from service.api.models import ModelName
from service.values.accuracy import Accuracy, Calibration


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
