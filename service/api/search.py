"""Answers to ``POST /search`` and ``POST /embed``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.boxes import PersonRecord
from service.api.crops import CropRecord
from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.warnings import WarningRecord


class MatchRecord(CropRecord):
    """A crop that reached ``min_score``."""

    rank: int = Field(description="1 is the best", examples=[1])
    score: float = Field(description="cosine with the query, -1..1", examples=[0.83])
    probability: float | None = Field(
        description="probability that the crop and the query show the same person; null if the "
        "model is not calibrated or the query has several pictures",
        examples=[0.97],
    )
    standardised_score: float | None = Field(
        description="cosine of the embeddings standardised per camera, which ranks the match; "
        "null if the search was not standardised",
        examples=[0.41],
    )
    rerank_distance: float | None = Field(
        description="k-reciprocal distance, smaller is closer; null unless re-ranked",
        examples=[0.21],
    )
    identity_score: float | None = Field(
        description="what ranks the identity: the cosine of its best crop, or the mean of several; "
        "null unless group_by=identity",
        examples=[0.78],
    )
    group_size: int | None = Field(
        description="crops of this identity or track that count: those that were found, or for "
        "identity_score=mean and top3 all that pass the filter; null unless grouped",
        examples=[4],
    )


class QueryImage(BaseModel):
    """An image of the request."""

    index: int = Field(description="position in the request, from 0", examples=[0])
    file: str = Field(description="its file name", examples=["query.jpg"])


class Nearest(BaseModel):
    """The highest score of any crop, to show how close the query came."""

    score: float = Field(examples=[0.83])
    probability: float | None = Field(examples=[0.97])


class SearchEntry(BaseModel):
    """The result of one query."""

    images: list[QueryImage] = Field(description="the images of this query")
    crop_ids: list[str] = Field(description="the gallery's crops that were searched for")
    track: str | None = Field(
        default=None,
        description="the gallery's track that was searched for; `crop_ids` names its crops",
        examples=["17"],
    )
    vectors: list[int] = Field(
        default=[], description="positions of the vectors that made this query, from 0"
    )
    person: PersonRecord | None = Field(
        default=None, description="with `detect`: where the query is on its image; otherwise null"
    )
    status: Literal["matched", "unknown", "nobody", "error"] = Field(
        description="unknown: no crop reached min_score; nobody: with `detect`, no person was "
        "found on the image; error: the image could not be used"
    )
    matches: list[MatchRecord] = Field(description="best first")
    nearest: Nearest | None = Field(
        description="the highest score, even below `min_score`; null if no crop took part"
    )
    considered: int | None = Field(
        description="crops that took part: not those that the filter left out, those of the "
        "query's own camera if it is excluded, or the query itself; null if there was no query",
        examples=[1200],
    )
    error: ImageProblem | None = Field(default=None, description="what is wrong with the image")


class SearchAnswer(BaseModel):
    """Answer to ``POST /search``."""

    model: ModelName
    gallery: str
    min_score: float | None = Field(
        description="the minimum score that was applied; null if there was none"
    )
    took_ms: dict[str, float] = Field(
        description="milliseconds for decode, embed, query and rerank, and in total",
        examples=[{"decode": 1.9, "embed": 31.2, "query": 0.8, "total": 35.1}],
    )
    results: list[SearchEntry] = Field(
        description="one per image, then one per crop id, then one per track, in order; with "
        "`combine`: one, then one per unusable image; with `detect`: one per person of each image, "
        "or one for an image without persons"
    )
    warnings: list[WarningRecord] = Field(description="what looks wrong with the filter")


class EmbeddingEntry(BaseModel):
    """The embedding of one image, or the reason why there is none."""

    image: QueryImage
    embedding: list[float] | str | None = Field(description="unit length")
    error: ImageProblem | None = None


class EmbedAnswer(BaseModel):
    """Answer to ``POST /embed``."""

    model: ModelName
    dimension: int
    took_ms: dict[str, float]
    results: list[EmbeddingEntry] = Field(description="one per image, in order")
