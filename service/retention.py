"""Erases what galleries were told to keep only for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from service.errors import NotFound, ReidError
from service.gallery.base import Filter, GalleryStats, GalleryStore

log = logging.getLogger(__name__)


class Retention:
    """Looks through the galleries again and again, and erases crops past ``keep_for``.

    A crop's age counts from its timestamp, or where it has none from the moment it was stored.

    Args:
        store: the galleries.
        seconds: from one look to the next; a crop may outlive its time by that much.
    """

    def __init__(self, store: GalleryStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for the first time, and go on in the background; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="retention")

    async def close(self) -> None:
        """Stop; an erasure that has begun is finished."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

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
            except ReidError as error:
                log.warning("gallery %r: expired crops are still there: %s", stats.name, error)
        return erased

    def _erase(self, stats: GalleryStats, before: float) -> int:
        receipt = self._store.open(stats.name).delete(Filter(expired_before=before))
        if receipt.crops:
            log.info("gallery %r: erased %d expired crops", stats.name, receipt.crops)
        if receipt.snapshots:
            log.warning(
                "gallery %r: snapshots that still hold expired crops: %s",
                stats.name,
                ", ".join(receipt.snapshots),
            )
        return receipt.crops

    async def _run(self) -> None:
        while True:
            # shielded: whoever ends the service must not leave an erasure half told of
            await asyncio.shield(asyncio.to_thread(self.erase_expired, time.time()))
            await asyncio.shield(asyncio.to_thread(self._store.tidy))
            await asyncio.sleep(self._seconds)
