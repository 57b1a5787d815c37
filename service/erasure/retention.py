"""Erases what galleries were told to keep only for a while."""

from __future__ import annotations

import logging
import time

from service.erasure.crops import Erasure, names_of
from service.errors import NotFound, ReidError
from service.gallery.base import Filter, GalleryStats, Receipt
from service.gallery.protocol import GalleryStore
from service.machine.background import Report

log = logging.getLogger(__name__)


class Retention:
    """Looks through the galleries, and erases crops past ``keep_for``.

    A crop's age counts from its timestamp, or where it has none from the moment it was stored.

    Args:
        store: the galleries.
        report: counts galleries that failed.
        erasure: erases what jobs have noted of the crops, where there are jobs.
    """

    def __init__(self, store: GalleryStore, report: Report, erasure: Erasure | None = None) -> None:
        self._store = store
        self._report = report
        self._erasure = erasure

    def run(self) -> None:
        """Erase what is past its time now. Raises whatever keeps the galleries from being read."""
        self.erase_expired(time.time())

    def erase_expired(self, now: float) -> dict[str, int]:
        """Erase what is past its time.

        Args:
            now: seconds since 1970-01-01 UTC.

        Returns:
            How many crops of each gallery were erased; a gallery that failed is logged and
            tried again the next time.
        """
        erased: dict[str, int] = {}
        for stats in self._store.stats():
            if stats.keep_for is None:
                continue
            try:
                erased[stats.name] = self._erase(stats, now - stats.keep_for)
            except NotFound:  # deleted meanwhile
                continue
            except Exception as error:  # the other galleries come next
                trace = None if isinstance(error, ReidError) else error
                log.warning(
                    "gallery %r: expired crops are still there: %s",
                    *(stats.name, error),
                    exc_info=trace,
                )
                self._report("retention")
        return erased

    def _erase(self, stats: GalleryStats, before: float) -> int:
        gallery = self._store.open(stats.name)
        receipt = gallery.delete(Filter(expired_before=before))
        if self._erasure is not None:
            self._erasure.forget_names(stats.name, names_of(gallery, receipt))
            self._erasure.board.notes.erase_before(stats.name, before)
            self._name_copies(stats.name, receipt)
        if receipt.crops:
            log.info("gallery %r: erased %d expired crops", stats.name, receipt.crops)
        if receipt.snapshots:
            log.warning(
                "gallery %r: snapshots that still hold expired crops: %s",
                stats.name,
                ", ".join(receipt.snapshots),
            )
        return receipt.crops

    def _name_copies(self, name: str, receipt: Receipt) -> None:
        copies = self._store.holding(receipt.digests, name)
        if copies:
            log.warning(
                "gallery %r: other galleries that hold expired crops: %s", name, ", ".join(copies)
            )
