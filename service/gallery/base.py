"""What a gallery is, whatever stores it.

A gallery belongs to one model (its sha256): embeddings of two models never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Crop:
    """One picture of one person, as the gallery remembers it.

    Attributes:
        crop_id: unique within the gallery, 1..200 characters.
        identity: who it shows, where known.
        camera: which camera took it, where known.
        timestamp: when, seconds since 1970-01-01 UTC, where known.
        digest: SHA-256 of the uploaded bytes, so that an import can skip what it already sent.
    """

    crop_id: str
    identity: str | None = None
    camera: str | None = None
    timestamp: float | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which crops take part; every given field must hold. The empty filter lets all pass.

    Attributes:
        cameras: crops of these cameras only.
        not_camera: no crop of this camera (the query's own); crops without a camera pass.
        since: timestamp >= since; crops without a timestamp do not pass.
        until: timestamp < until; crops without a timestamp do not pass.
        identities: crops of these identities only.
        crop_ids: these crops only.
    """

    cameras: frozenset[str] | None = None
    not_camera: str | None = None
    since: float | None = None
    until: float | None = None
    identities: frozenset[str] | None = None
    crop_ids: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A crop found by a query, with its cosine."""

    crop: Crop
    score: float


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, ordered by crop id; ``cursor`` asks for the next part, None ends it."""

    crops: tuple[Crop, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """Counts of a gallery at one moment.

    Attributes:
        name: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        dimension: their length.
        created: seconds since 1970-01-01 UTC.
        crops: crops that are served.
        identities: distinct identities among them.
        cameras: crops of each camera, where known.
        bytes_on_disk: size of everything stored.
        damaged: crops that are stored but not served, because their embedding is damaged.
    """

    name: str
    model_sha256: str
    dimension: int
    created: float
    crops: int
    identities: int
    cameras: dict[str, int]
    bytes_on_disk: int
    damaged: int = 0


class Gallery(Protocol):
    """One named set of crops. Safe to call from several threads.

    A method that returns has made its change durable; one that raises has changed nothing.
    """

    @property
    def name(self) -> str:
        """The gallery's name."""
        ...

    def upsert(self, crops: Sequence[Crop], embeddings: NDArray[np.float32]) -> int:
        """Insert or replace crops by id, all or none.

        Args:
            crops: N crops; when an id occurs twice the last one wins.
            embeddings: (N, D) float32, unit rows; row i belongs to crop i.

        Returns:
            How many ids were new.

        Raises:
            InvalidInput: wrong shape, a non-finite or non-unit row.
            StorageFull: the disk refused the write.
        """
        ...

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        ...

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids."""
        ...

    def delete(self, where: Filter) -> int:
        """Delete what passes the filter; returns how many."""
        ...

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32 rows of these crops, in this order. Raises NotFound."""
        ...

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine.

        Args:
            embeddings: (Q, D) float32, unit rows.
            top_k: at most this many hits a row, >= 1.
            where: which crops take part.

        Returns:
            Q lists of hits, best first; ties in the order of crop ids.
        """
        ...

    def stats(self) -> GalleryStats:
        """Counts at this moment."""
        ...


class GalleryStore(Protocol):
    """All galleries of one service."""

    @property
    def device(self) -> str:
        """``cuda``, ``cpu`` or ``milvus``: where queries are answered."""
        ...

    def create(self, name: str, model_sha256: str, dimension: int) -> Gallery:
        """Create a gallery. Raises Conflict if it exists, InvalidInput for a bad name."""
        ...

    def open(self, name: str, model_sha256: str) -> Gallery:
        """An existing gallery. Raises NotFound, ModelMismatch if another model filled it."""
        ...

    def stats(self) -> list[GalleryStats]:
        """Stats of every gallery, by name."""
        ...

    def delete(self, name: str) -> int:
        """Delete a gallery and everything in it; returns how many crops. Raises NotFound."""
        ...

    def writable(self) -> bool:
        """Whether a write would be accepted now."""
        ...

    def close(self) -> None:
        """Finish writes and release files."""
        ...
