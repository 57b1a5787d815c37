"""What every gallery and every store of galleries can do, whatever stores them.

A gallery belongs to one model (its sha256): embeddings of two models never mix. Implementations
document only what differs from these protocols.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import (
    DEFAULT_OPTIONS,
    Absent,
    Crop,
    Filter,
    GalleryOptions,
    GalleryStats,
    Hit,
    Origin,
    Page,
    Receipt,
    SnapshotRecord,
    StandardisedHits,
)


class Scan(Protocol):
    """One pass over a gallery for some queries; every question about them is answered from it.

    What it answers is of one moment: it does not see later writes.
    """

    def best(self, query: int, top_k: int, least: float = -1.0, rows: int = 0) -> StandardisedHits:
        """The exact nearest crops by standardised cosine; ties in the order of crop ids.

        Args:
            query: place of the query among those scanned for.
            top_k: most hits, >= 1.
            least: minimum plain cosine of a hit, at least that of the scan.
            rows: number of hits whose standardised embeddings are returned.
        """
        ...

    def crops_of(self, query: int, identities: Collection[str]) -> list[Hit]:
        """Every crop of these identities that passes the filter, whatever its score."""
        ...

    def nearest(self, query: int, but: Collection[str] = ()) -> float | None:
        """The largest plain cosine of a crop whose id is not among these; None without one."""
        ...


class Gallery(Protocol):
    """One named set of crops. Safe to call from several threads.

    A method that returns has made its change durable; one that raises has changed nothing.
    """

    @property
    def name(self) -> str:
        """The gallery's name."""
        ...

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        ...

    @property
    def dimension(self) -> int:
        """Length of its embeddings."""
        ...

    @property
    def options(self) -> GalleryOptions:
        """Its settings."""
        ...

    def changing(self) -> AbstractContextManager[None]:
        """Hold the gallery's lock, so that nobody else writes between a read and a write.

        Read, decide and write inside. One thread may enter twice. Never embed, and never wait for
        the event loop, inside.

        Raises:
            NotFound: the gallery was deleted.
            Replaced: this object no longer represents the gallery; open it again.
        """
        ...

    def configure(self, options: GalleryOptions) -> None:
        """Change the options; without ``store_crops`` the stored pictures are erased.

        Raises:
            InvalidInput: an option breaks its rule.
            Unsupported: this kind of gallery does not support an option.
        """
        ...

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id, all or none.

        Args:
            crops: N crops; if an id occurs twice, the last one wins.
            embeddings: (N, D) float32, unit rows; row i belongs to crop i.
            pictures: N image files; stored only by a gallery that stores crops. Without them a
                crop keeps its stored picture if its digest is unchanged. If the digest changes, the
                old picture belongs to another file and is erased.

        Returns:
            Number of ids that were new.

        Raises:
            InvalidInput: wrong shape, or a row that is not finite or not of unit length.
            StorageFull: the disk is full.
        """
        ...

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        ...

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop. Raises NotFound, also if no picture is stored."""
        ...

    def pictured(self, where: Filter) -> set[str]:
        """Ids of the crops that pass the filter and have a stored picture."""
        ...

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """At most ``limit`` crops that pass the filter, in the order of their ids.

        Raises:
            InvalidInput: the cursor is not valid, or the limit is below one.
        """
        ...

    def crops(self, where: Filter) -> list[Crop]:
        """All crops that pass the filter, in the order of their ids."""
        ...

    def count(self, where: Filter) -> int:
        """Number of crops that pass the filter, which is what a query with it searches."""
        ...

    def absent(self, where: Filter) -> Absent:
        """Cameras, identities and crop ids in a filter that no crop of the gallery has."""
        ...

    def describe(self, crops: Sequence[Crop]) -> int:
        """Change the metadata of stored crops, all or none; embeddings and pictures stay.

        Identity, camera, timestamp and origin are replaced, ``added`` too if it is given. A crop
        whose digest differs from the stored one is ignored: it is another picture. A crop without
        a digest keeps the stored one.

        Args:
            crops: N crops. Ids that are not stored are ignored; if an id occurs twice, the last one
                wins.

        Returns:
            Number of crops that changed.

        Raises:
            InvalidInput: a field breaks its rule.
        """
        ...

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities, all or none; embeddings stay as they are.

        Args:
            labels: the new identity per crop id, None for unknown; ids that are not stored are
                ignored.
            origin: where these identities come from.

        Returns:
            Number of crops whose identity or origin changed.

        Raises:
            InvalidInput: an identity breaks its rule.
        """
        ...

    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        """Delete the crops that pass the filter; with ``dry_run`` only report what would go."""
        ...

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32 rows of these crops, in this order. Raises NotFound."""
        ...

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Find the exact nearest crops by cosine.

        Args:
            embeddings: (Q, D) float32, unit rows.
            top_k: most hits per row, >= 1.
            where: which crops to search.

        Returns:
            Q lists of hits, best first; ties in the order of crop ids.
        """
        ...

    def scan_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        where: Filter,
        least: float = -1.0,
    ) -> Scan | None:
        """Score every crop after removing each camera's own statistics.

        Args:
            embeddings: (Q, D) float32, unit rows, not standardised.
            cameras: the camera that took each query, None if unknown.
            where: which crops to search.
            least: minimum plain cosine of the hits that will be asked for; -1 allows every hit.

        Returns:
            What answers questions about these queries; None while no camera has enough crops, in
            which case use :meth:`query`.

        Raises:
            Unsupported: this kind of gallery cannot standardise.
        """
        ...

    def stats(self) -> GalleryStats:
        """Counts at this moment."""
        ...


class GalleryStore(Protocol):
    """All galleries of one service."""

    @property
    def device(self) -> str:
        """Where queries are answered: ``cuda``, ``cpu`` or ``milvus``."""
        ...

    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> Gallery:
        """Create a gallery, durable on return.

        Args:
            name: 1..64 of ``a-z 0-9 _ -``.
            model_sha256: the model whose embeddings it will hold, 64 hexadecimal digits.
            dimension: length of the embeddings.
            options: its settings.

        Returns:
            The empty gallery.

        Raises:
            Conflict: it exists.
            InvalidInput: the name, the dimension or an option breaks its rule.
            Unsupported: this kind of gallery does not support an option.
        """
        ...

    def open(self, name: str) -> Gallery:
        """An existing gallery. Raises NotFound, and Unavailable if it cannot be read."""
        ...

    def changing(self, name: str) -> AbstractContextManager[Gallery]:
        """The gallery as it is served now, with its lock held; see :meth:`Gallery.changing`.

        Raises:
            NotFound: there is no such gallery.
        """
        ...

    def stats(self) -> list[GalleryStats]:
        """Stats of all galleries, by name."""
        ...

    def delete(self, name: str) -> int:
        """Delete a gallery and its crops, not its snapshots; return the number of crops.

        Raises:
            NotFound: there is no such gallery.
        """
        ...

    def holding(self, digests: Collection[str], but: str) -> list[str]:
        """Names of other galleries that hold a crop with one of these digests, or cannot tell."""
        ...

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """Snapshots of a gallery, deleted or not, oldest first. Raises NotFound."""
        ...

    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Copy a gallery as it is now; writes continue. Raises NotFound, Unsupported."""
        ...

    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        """The file of a snapshot. Raises NotFound, Unsupported."""
        ...

    def restore(self, name: str, snapshot_id: str, into: str | None) -> Gallery:
        """Restore a snapshot; it is verified before it replaces anything.

        Args:
            name: the gallery the snapshot was taken of.
            snapshot_id: the snapshot.
            into: name of a new gallery; None replaces the gallery's present content.

        Returns:
            The restored gallery.

        Raises:
            NotFound: there is no such gallery or snapshot.
            Conflict: ``into`` exists, the snapshot is damaged or belongs to another gallery, or the
                gallery no longer has the snapshot's model; nothing was replaced.
            Unsupported: this kind of gallery has no snapshots.
        """
        ...

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Delete a snapshot. Raises NotFound, Unsupported."""
        ...

    def tidy(self) -> None:
        """Do what erasures postponed; called from time to time."""
        ...

    def writable(self) -> bool:
        """Whether a write would be accepted now."""
        ...

    def close(self) -> None:
        """Finish writes and close files."""
        ...
