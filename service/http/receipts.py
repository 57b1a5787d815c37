"""Receipts of erasures: what was erased, and where copies remain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from service.access.caller import Caller
from service.api.receipts import DeletionReceipt
from service.erasure.crops import Erased
from service.gallery.filter_warnings import FilterWarning
from service.http.records import warning_records


def beside_counts(caller: Caller, request_id: str, copies: Sequence[str]) -> dict[str, Any]:
    """Make the part of a receipt that is not a count.

    Args:
        caller: the client that erased.
        request_id: of the request.
        copies: all other galleries that hold one of the crops.

    Returns:
        Fields of :class:`service.api.receipts.Erasing`.
    """
    seen = [name for name in copies if caller.sees(name)]
    return {
        "time": datetime.now(UTC).replace(microsecond=0),
        "request_id": request_id,
        "copies": seen,
        "hidden_copies": len(copies) - len(seen),
    }


def deletion_receipt(
    erased: Erased,
    beside: dict[str, Any],
    *,
    dry_run: bool,
    warnings: Sequence[FilterWarning] = (),
) -> DeletionReceipt:
    """Record an erasure.

    Args:
        erased: what was erased, and what remains.
        beside: the result of :func:`beside_counts`.
        dry_run: whether nothing was deleted.
        warnings: probable mistakes in the filter.

    Returns:
        The receipt.
    """
    receipt = erased.receipt
    return DeletionReceipt(
        **beside,
        deleted=receipt.crops,
        pictures=receipt.pictures,
        identities=receipt.identities,
        cameras=receipt.cameras,
        snapshots=list(receipt.snapshots),
        jobs=list(erased.jobs),
        lists=list(erased.lists),
        dry_run=dry_run,
        warnings=warning_records(warnings),
    )
