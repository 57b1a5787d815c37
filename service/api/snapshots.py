"""Answers about snapshots."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SnapshotEntry(BaseModel):
    """A gallery as it was at one moment."""

    snapshot_id: str = Field(examples=["20261121T081500123-9f3c"])
    gallery: str
    model_sha256: str = Field(description="the model whose embeddings it holds")
    crops: int
    bytes: int = Field(description="size of its file")
    created: float = Field(description="seconds since 1970-01-01 UTC")


class Snapshots(BaseModel):
    """The snapshots of a gallery."""

    snapshots: list[SnapshotEntry] = Field(description="oldest first")
