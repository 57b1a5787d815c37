"""Erases crops and what is noted about them, and reports where copies remain."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from service.alerts.alerts import Alerts
from service.errors import NotFound, ReidError
from service.gallery.base import Filter, Receipt
from service.gallery.protocol import Gallery, GalleryStore
from service.jobs.board import JobBoard
from service.jobs.notes import Names

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure removed, or would remove, and where copies remain.

    Attributes:
        receipt: the gallery's receipt.
        jobs: waiting, running or failed jobs of the gallery that still keep their upload, or whose
            spec holds a name that was erased.
        lists: jobs of the gallery that still have item errors.
        copies: other galleries that hold one of the crops, according to its picture's digest.
    """

    receipt: Receipt
    jobs: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases crops from every place that the service controls.

    Attributes:
        store: the galleries.
        board: the jobs.
        alerts: the watches and events.
    """

    store: GalleryStore
    board: JobBoard
    alerts: Alerts

    def erase(self, name: str, where: Filter, *, dry_run: bool = False) -> Erased:
        """Delete crops of a gallery, and what jobs, watches and events say about them.

        Args:
            name: the gallery.
            where: which crops.
            dry_run: only report what would be erased.

        Returns:
            What was erased and what remains, including jobs whose notes could not be erased.

        Raises:
            NotFound: there is no such gallery.
            StorageFull: the disk is full; nothing changed.
            Unavailable: it cannot be read or written.
        """
        gallery = self.store.open(name)
        receipt = gallery.delete(where, dry_run=dry_run)
        names = self.names_of(gallery, receipt, where.identities or ())
        if not dry_run:
            self.forget_names(name, names)
        notes = self.board.notes
        jobs = (*self.board.keeping_files(name), *notes.asked_with(name, names))
        return Erased(
            receipt,
            tuple(dict.fromkeys(jobs)),
            notes.noting(name),
            tuple(self.store.holding(receipt.digests, name)),
        )

    def names_of(self, gallery: Gallery, receipt: Receipt, asked: Collection[str] = ()) -> Names:
        """Find the names that an erasure removed, also those that people only had before.

        Args:
            gallery: the gallery after the erasure.
            receipt: the erasure's receipt.
            asked: the identities that were to be erased.

        Returns:
            As :func:`names_of`.
        """
        try:
            former = self.alerts.renames.names_of(gallery.name, receipt.crop_ids)
        except ReidError as error:
            log.warning("gallery %r: former names may remain: %s", gallery.name, error)
            former = frozenset()
        return names_of(gallery, replace(receipt, names=receipt.names.union(former, asked)))

    def forget_names(self, name: str, names: Names) -> None:
        """Erase names from jobs, watches and events.

        A failure is logged, and the receipt lists the jobs.
        """
        try:
            self.board.notes.erase_names(name, names)
        except ReidError as error:
            log.warning("gallery %r: erased names remain in jobs: %s", name, error)
        try:
            self.alerts.forget_names(name, names.texts, all_=names.all)
        except ReidError as error:
            log.warning("gallery %r: erased names remain in watches and events: %s", name, error)

    def delete_gallery(self, name: str) -> tuple[int, Sequence[str], int]:
        """Delete a gallery with all crops, jobs, watches and events; its snapshots stay.

        Returns:
            Number of crops, other galleries that hold one of them, and number of jobs.

        Raises:
            NotFound: there is no such gallery.
            StorageFull: the disk is full. If the gallery is already deleted, its jobs follow later.
        """
        digests = self._digests(name)
        crops = self.store.delete(name)
        jobs = self.board.forget(name)
        self.alerts.forget_gallery(name)
        return crops, self.store.holding(digests, name), jobs

    def tidy_jobs(self) -> None:
        """Do what was postponed: forget jobs without a gallery, and clean the jobs' file.

        Raises:
            ReidError: the jobs cannot be read or written.
        """
        self.forget_orphans()
        self.board.notes.tidy()

    def forget_orphans(self) -> None:
        """Forget jobs whose gallery was deleted by an older release, or while the disk was full.

        Raises:
            ReidError: the jobs cannot be read or written.
        """
        for name in self._gone(self.board.notes.galleries()):
            count = self.board.forget(name)
            log.info("gallery %r no longer exists: forgot its %d jobs", name, count)

    def tidy_alerts(self) -> None:
        """Forget watches and events without a gallery, and events that are too old.

        Raises:
            ReidError: they cannot be read or written.
        """
        for name in self._gone(self.alerts.galleries()):
            self.alerts.forget_gallery(name)
        self.alerts.tidy()

    def _gone(self, names: Sequence[str]) -> Iterator[str]:
        """Those of some galleries that do not exist."""
        for name in names:
            try:
                self.store.open(name)
            except NotFound:
                yield name
            except ReidError:  # it exists but cannot be read now
                continue

    def _digests(self, name: str) -> frozenset[str]:
        try:
            return self.store.open(name).delete(Filter(), dry_run=True).digests
        except NotFound:
            raise
        except ReidError:  # a gallery that cannot be read can still be deleted
            return frozenset()


def names_of(gallery: Gallery, receipt: Receipt) -> Names:
    """Find the names that an erasure removed from a gallery, for erasing them from jobs too.

    Args:
        gallery: the gallery after the erasure.
        receipt: the erasure's receipt.

    Returns:
        Ids of the erased crops, and the identities that no crop has any more.
    """
    if not (receipt.crops or receipt.names):
        return Names()
    try:
        left = gallery.count(Filter())
        known = Filter(identities=receipt.names)
        gone = gallery.absent(known).identities if receipt.names else ()
    except NotFound:  # the gallery was deleted meanwhile
        return Names(all=True)
    return Names(receipt.crop_ids | set(gone), all=left == 0 and receipt.crops > 0)
