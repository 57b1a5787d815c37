"""What answers say of galleries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


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


class Galleries(BaseModel):
    """Every gallery, by name."""

    galleries: list[GalleryRecord]
