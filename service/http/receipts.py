"""Receipts: what an erasure took away, when, and where something of it is left."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from service.access.caller import Caller
from service.api.answers import WarningRecord
from service.erasure.crops import Erased
from service.gallery.filter_warnings import FilterWarning


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

    @staticmethod
    def beside(caller: Caller, request_id: str, copies: Sequence[str]) -> dict[str, Any]:
        """What a receipt says beside its counts.

        Args:
            caller: who erased.
            request_id: of the request.
            copies: every other gallery that holds one of the crops.
        """
        seen = [name for name in copies if caller.sees(name)]
        return {
            "time": datetime.now(UTC).replace(microsecond=0),
            "request_id": request_id,
            "copies": seen,
            "hidden_copies": len(copies) - len(seen),
        }


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

    @classmethod
    def of(
        cls,
        erased: Erased,
        beside: dict[str, Any],
        *,
        dry_run: bool,
        warnings: Sequence[FilterWarning] = (),
    ) -> Self:
        """The record of an erasure.

        Args:
            erased: what went, and what is left.
            beside: of :meth:`Erasing.beside`.
            dry_run: whether nothing was deleted.
            warnings: what is odd about the filter.
        """
        receipt = erased.receipt
        return cls(
            **beside,
            deleted=receipt.crops,
            pictures=receipt.pictures,
            identities=receipt.identities,
            cameras=receipt.cameras,
            snapshots=list(receipt.snapshots),
            jobs=list(erased.jobs),
            lists=list(erased.lists),
            dry_run=dry_run,
            warnings=WarningRecord.all_of(warnings),
        )
