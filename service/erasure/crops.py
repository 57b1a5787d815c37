"""Erases crops, and what jobs have noted of them; says where copies are left."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import NotFound, ReidError
from service.gallery.base import Filter, Receipt
from service.gallery.protocol import Gallery, GalleryStore
from service.jobs.board import JobBoard
from service.jobs.notes import Names

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took away, or would, and what it left.

    Attributes:
        receipt: of the gallery; empty where the gallery could not tell.
        jobs: of the gallery that wait, run or failed, and still keep what they received, or were
            asked with a name that was erased.
        lists: jobs of the gallery that still keep item errors.
        copies: other galleries that hold one of the crops, by the digest of its picture.
    """

    receipt: Receipt
    jobs: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases crops everywhere that the service itself can.

    Attributes:
        store: the galleries.
        board: the jobs.
    """

    store: GalleryStore
    board: JobBoard

    def erase(self, name: str, where: Filter, *, dry_run: bool = False) -> Erased:
        """Delete crops of a gallery, and what its jobs have noted of them.

        Args:
            name: the gallery.
            where: which crops.
            dry_run: only tell what that would be.

        Returns:
            What went, and what is left. Where the notes of jobs could not be erased, those jobs are
            named.

        Raises:
            NotFound: there is no such gallery.
            StorageFull: the disk is full; nothing changed.
            Unavailable: it cannot be read or written.
        """
        gallery = self.store.open(name)
        receipt = gallery.delete(where, dry_run=dry_run)
        names = names_of(gallery, receipt)
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

    def forget_names(self, name: str, names: Names) -> None:
        """Erase what jobs have noted of names; a failure is logged, and the receipt names them."""
        try:
            self.board.notes.erase_names(name, names)
        except ReidError as error:
            log.warning("gallery %r: jobs still name what was erased: %s", name, error)

    def delete_gallery(self, name: str) -> tuple[int, Sequence[str], int]:
        """Delete a gallery with every crop and every job; its snapshots stay.

        Returns:
            How many crops, which other galleries hold one of them, and how many jobs.

        Raises:
            NotFound: there is no such gallery.
            StorageFull: the disk is full. Where the gallery is gone already, its jobs follow soon.
        """
        digests = self._digests(name)
        crops = self.store.delete(name)
        jobs = self.board.forget(name)
        return crops, self.store.holding(digests, name), jobs

    def tidy_jobs(self) -> None:
        """Do what was put off: forget jobs without a gallery, clean the jobs' file.

        Raises:
            ReidError: the jobs cannot be read or written.
        """
        self.forget_orphans()
        self.board.notes.tidy()

    def forget_orphans(self) -> None:
        """Forget jobs whose gallery is gone: of earlier releases, or where the disk was full.

        Raises:
            ReidError: the jobs cannot be read or written.
        """
        for name in self.board.notes.galleries():
            try:
                self.store.open(name)
            except NotFound:
                count = self.board.forget(name)
                log.info("gallery %r is gone: %d jobs of it are forgotten", name, count)
            except ReidError:  # it is there, and cannot be read now
                continue

    def _digests(self, name: str) -> frozenset[str]:
        try:
            return self.store.open(name).delete(Filter(), dry_run=True).digests
        except NotFound:
            raise
        except ReidError:  # a gallery that cannot be read can be deleted all the same
            return frozenset()


def names_of(gallery: Gallery, receipt: Receipt) -> Names:
    """What an erasure took from a gallery, as jobs may have noted it.

    Args:
        gallery: what is left of it.
        receipt: of the erasure.

    Returns:
        Ids of the crops, and the identities that no crop has any more.
    """
    if not receipt.crops:
        return Names()
    try:
        left = gallery.count(Filter())
        known = Filter(identities=receipt.names)
        gone = gallery.absent(known).identities if left and receipt.names else ()
    except NotFound:  # the gallery was deleted meanwhile
        return Names(all=True)
    return Names(receipt.crop_ids | set(gone), all=left == 0)
