"""Erases crops that are older than their gallery keeps them."""

from __future__ import annotations

import logging
import time

from service.erasure.crops import Erasure
from service.errors import NotFound, ReidError
from service.gallery.base import Filter, GalleryStats, Receipt
from service.gallery.protocol import GalleryStore
from service.machine.background import Report

log = logging.getLogger(__name__)


class Retention:
    """Erases crops that are older than their gallery's ``keep_for``.

    A crop's age counts from its timestamp, or from the moment it was stored if it has none.

    Args:
        store: the galleries.
        report: counts galleries that failed.
        erasure: also erases what jobs noted about the crops; None if there are no jobs.
    """

    def __init__(self, store: GalleryStore, report: Report, erasure: Erasure | None = None) -> None:
        self._store = store
        self._report = report
        self._erasure = erasure

    def run(self) -> None:
        """Erase crops that have expired by now. Raises an error if galleries cannot be listed."""
        self.erase_expired(time.time())

    def erase_expired(self, now: float) -> dict[str, int]:
        """Erase crops that have expired.

        Args:
            now: seconds since 1970-01-01 UTC.

        Returns:
            Number of erased crops per gallery; a gallery that failed is logged and tried again next
            time.
        """
        erased: dict[str, int] = {}
        for stats in self._store.stats():
            if stats.keep_for is None:
                continue
            try:
                erased[stats.name] = self._erase(stats, now - stats.keep_for)
            except NotFound:  # deleted meanwhile
                continue
            except Exception as error:  # the other galleries must not be affected
                trace = None if isinstance(error, ReidError) else error
                log.warning(
                    "gallery %r: expired crops could not be erased: %s",
                    *(stats.name, error),
                    exc_info=trace,
                )
                self._report("retention")
        return erased

    def _erase(self, stats: GalleryStats, before: float) -> int:
        gallery = self._store.open(stats.name)
        receipt = gallery.delete(Filter(expired_before=before))
        if self._erasure is not None:
            names = self._erasure.names_of(gallery, receipt)
            self._erasure.forget_names(stats.name, names)
            self._erasure.board.notes.erase_before(stats.name, before)
            self._name_copies(stats.name, receipt)
        if receipt.crops:
            log.info("gallery %r: erased %d expired crops", stats.name, receipt.crops)
        if receipt.snapshots:
            log.warning(
                "gallery %r: expired crops remain in snapshots: %s",
                stats.name,
                ", ".join(receipt.snapshots),
            )
        return receipt.crops

    def _name_copies(self, name: str, receipt: Receipt) -> None:
        copies = self._store.holding(receipt.digests, name)
        if copies:
            log.warning(
                "gallery %r: expired crops remain in other galleries: %s", name, ", ".join(copies)
            )
