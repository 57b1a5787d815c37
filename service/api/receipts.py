"""Receipts: what an erasure took away, when, and where something of it is left."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from service.api.warnings import WarningRecord


class Erasing(BaseModel):
    """What every receipt says."""

    deleted: int = Field(description="crops; with dry_run those that would be deleted")
    time: datetime = Field(description="when it was done, UTC")
    request_id: str = Field(description="of the request; the audit log has it, too")
    copies: list[str] = Field(
        description="other galleries that still hold one of the crops, such as restored ones, by "
        "the digest of the picture, or cannot be read; of those the key may see"
    )
    hidden_copies: int = Field(description="how many more there are that the key may not see")


class GalleryDeleted(Erasing):
    """A gallery is gone, with its jobs."""

    snapshots: list[str] = Field(description="snapshots of it that stay")
    jobs: int = Field(description="how many jobs of it went, with all that they kept")


class DeletionReceipt(Erasing):
    """What a deletion took away, or with ``dry_run`` would take away."""

    pictures: int = Field(description="how many of them had a stored picture")
    identities: int = Field(description="distinct identities among them")
    cameras: dict[str, int] = Field(description="crops of each camera")
    snapshots: list[str] = Field(
        description="snapshots that still hold one of them; delete these too"
    )
    jobs: list[str] = Field(
        description="jobs of the gallery that wait, run or failed, and still keep what they "
        "received, or were asked with a name that was erased; cancel these too"
    )
    lists: list[str] = Field(
        description="jobs of the gallery that still keep a list of failed items, which may name "
        "people in other words; DELETE /jobs/{job_id}/errors erases one"
    )
    dry_run: bool = Field(description="true where nothing was deleted")
    warnings: list[WarningRecord] = Field(description="what is odd about the filter")
