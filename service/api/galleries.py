"""Answers about galleries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class GalleryRecord(BaseModel):
    """A gallery and its counts."""

    name: str
    model_sha256: str = Field(description="the only model whose embeddings it accepts")
    dimension: int
    created: float = Field(description="seconds since 1970-01-01 UTC")
    crops: int
    identities: int
    cameras: dict[str, int] = Field(description="crops per camera")
    bytes_on_disk: int
    damaged: int = Field(description="crops that are left out because their row on disk is damaged")
    pictures: int = Field(description="crops whose picture is stored")
    store_crops: bool = Field(description="whether pictures of new crops are stored")
    keep_for: float | None = Field(
        description="seconds after which a crop is erased; null keeps crops until they are deleted"
    )
    join: bool = Field(description="whether new crops without an identity join the closest group")
    oldest: float | None = Field(
        description="earliest time of a crop: its timestamp, or if it has none, when it was added; "
        "null if unknown"
    )


class GalleryForecast(BaseModel):
    """What a change to a gallery would erase; nothing was changed."""

    dry_run: Literal[True] = True
    deleted: int = Field(description="crops that `keep_for` would erase within a minute or so")
    pictures: int = Field(
        description="stored pictures that would be erased, with these crops or by `store_crops`"
    )
    identities: int = Field(description="distinct identities among the crops")
    cameras: dict[str, int] = Field(description="crops per camera")
    oldest: float | None = Field(
        description="earliest time of a crop that would be erased, seconds since 1970-01-01 UTC; "
        "null if none would be"
    )
    newest: float | None = Field(description="latest time of such a crop")
    snapshots: list[str] = Field(description="snapshots that would still hold one of these crops")


class Galleries(BaseModel):
    """Every gallery that the caller may use, by name."""

    galleries: list[GalleryRecord]
