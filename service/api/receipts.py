"""Receipts: what was erased and when, and what still holds some of it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from service.api.warnings import WarningRecord


class Erasing(BaseModel):
    """Fields of every receipt."""

    deleted: int = Field(
        description="deleted crops; with `dry_run`, the crops that would be deleted"
    )
    time: datetime = Field(description="when they were deleted, UTC")
    request_id: str = Field(description="id of the request, as in the audit log")
    copies: list[str] = Field(
        description="other galleries that still hold one of the crops (compared by the picture's "
        "digest), such as restored ones, or that cannot be read; only those the key may see"
    )
    hidden_copies: int = Field(description="how many more of these the key may not see")


class GalleryDeleted(Erasing):
    """Receipt for a deleted gallery and its jobs."""

    snapshots: list[str] = Field(description="snapshots of the gallery that still exist")
    jobs: int = Field(description="how many of its jobs were deleted, with everything they kept")


class DeletionReceipt(Erasing):
    """Receipt for deleted crops, or with ``dry_run`` a forecast."""

    pictures: int = Field(description="how many of the crops had a stored picture")
    identities: int = Field(description="distinct identities among the crops")
    cameras: dict[str, int] = Field(description="crops per camera")
    snapshots: list[str] = Field(
        description="snapshots that still hold one of the crops; delete these, too"
    )
    jobs: list[str] = Field(
        description="queued, running or failed jobs of the gallery that still keep their upload, "
        "or whose request holds an erased name; cancel these, too"
    )
    lists: list[str] = Field(
        description="jobs of the gallery that still keep a list of failed items, which may name "
        "people in other words; DELETE /jobs/{job_id}/errors erases such a list"
    )
    dry_run: bool = Field(description="true if nothing was deleted")
    warnings: list[WarningRecord] = Field(description="what looks wrong with the filter")
