"""Requests and answers about models, and about changing the model of a gallery."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import JsonBody
from service.values.vocabulary import IdentityLabels


class ModelName(BaseModel):
    """The model that made the embeddings."""

    name: str = Field(examples=["hhcl-synthetic"])
    sha256: str = Field(examples=["1f0e7c2d…"])


class ModelBody(JsonBody):
    """``POST /galleries/{gallery}/model``."""

    model: str = Field(min_length=1, max_length=200, description="name of a model of `GET /models`")


class SwitchBody(ModelBody):
    """``POST /galleries/{gallery}/model/switch``."""

    allow_missing: bool = Field(
        default=False,
        description="leave behind crops that the model cannot embed because they have no picture",
    )


class KnownModel(BaseModel):
    """A model that the service can run."""

    name: str
    sha256: str
    dimension: int
    licence: str | None = Field(default=None, description="terms of the weights, if stated")
    identity_labels: IdentityLabels = Field(
        default="not known", description="whose labels the network has learned from"
    )
    running: bool = Field(description="whether the service was started with this model")


class UnusableModel(BaseModel):
    """A folder or file among the models that the service cannot run."""

    name: str = Field(description="the folder's or file's name")
    reason: str


class KnownModels(BaseModel):
    """Every model, the running one first, and what cannot be run."""

    models: list[KnownModel]
    unusable: list[UnusableModel] = Field(default=[], description="by name")


class VersionRecord(BaseModel):
    """A gallery's crops under one model."""

    sha256: str
    name: str | None = Field(description="null if the service does not have the model")
    served: bool = Field(description="whether this version is searched")
    crops: int
    behind: int = Field(description="crops that differ from the version that is searched")


class Versions(BaseModel):
    """Every version of a gallery, the one that is searched first."""

    versions: list[VersionRecord]
