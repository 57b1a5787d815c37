"""A gallery in memory: the rows that queries search, and the damaged crops."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.errors import Unavailable
from service.gallery.allocation import Allocation
from service.gallery.base import Absent, Filter, Hit
from service.gallery.disk.loading import Stored
from service.gallery.disk.reading import Counts
from service.gallery.rows.live_rows import LiveRows
from service.gallery.rows.nearest import Gpu, Mirror, nearest

_NAMED_IN_LOG = 20
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LoadedRows:
    """What is in memory of one version of a gallery.

    Attributes:
        name: the gallery's.
        gpu: runs unfiltered queries; None for the CPU.
        rows: crops and embeddings.
        damaged: ids of crops on disk whose embedding is damaged.
        mirror: a copy of the rows on the GPU.
    """

    name: str
    gpu: Gpu | None
    rows: LiveRows
    damaged: set[str]
    mirror: Mirror | None

    @classmethod
    def of(
        cls, name: str, stored: Stored, dimension: int, gpu: Gpu | None, allocation: Allocation
    ) -> LoadedRows:
        """Build the rows from what was read from disk; damaged embeddings are logged."""
        rows = LiveRows(dimension, allocation)
        rows.load(stored.crops, stored.embeddings, stored.sound)
        damaged = {stored.crops[at].crop_id for at in np.flatnonzero(~stored.sound).tolist()}
        if damaged:
            _warn_of_damage(name, damaged)
        return cls(name, gpu, rows, damaged, gpu.mirror(dimension) if gpu else None)

    def __contains__(self, crop_id: str) -> bool:
        """Whether the gallery has this crop, served or damaged."""
        return crop_id in self.rows or crop_id in self.damaged

    def absent(self, where: Filter) -> Absent:
        """Names in a filter that no crop has; a damaged crop still counts by its id."""
        gone = sorted(crop_id for crop_id in where.crop_ids or () if crop_id not in self)
        return replace(self.rows.now().absent(where), crop_ids=tuple(gone))

    def nearest(self, queries: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Find the exact nearest crops, on the GPU if there is one and it works.

        Raises:
            Unavailable: the GPU failed, and the CPU must not take over.
        """
        view, mask = self.rows.select(where)
        if self.mirror is None:
            return nearest(view, mask, queries, top_k)
        try:
            return nearest(view, mask, queries, top_k, self.mirror)
        except RuntimeError as error:  # what FAISS raises if a GPU is out of memory or gone
            self._give_up_gpu(error)
            return nearest(view, mask, queries, top_k)

    def counts(self, pictures: int) -> Counts:
        """Count the crops that are served.

        Args:
            pictures: number of stored pictures, which only the database knows.
        """
        view = self.rows.now()
        return Counts(
            crops=int(np.count_nonzero(view.alive)),
            pictures=pictures,
            identities=view.count_identities(),
            oldest=view.oldest(),
            cameras=view.count_cameras(),
        )

    def _give_up_gpu(self, error: RuntimeError) -> None:
        if self.gpu is not None and self.gpu.required:
            raise Unavailable(f"gallery {self.name!r}: the GPU failed: {error}") from error
        _log.warning("gallery %r is searched on the CPU from now on: %s", self.name, error)
        self.mirror = None


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would scan a million new objects again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _warn_of_damage(name: str, damaged: set[str]) -> None:
    named = sorted(damaged)
    _log.warning(
        "gallery %r: %d crops with a damaged embedding are not served; index or delete "
        "them again: %s%s",
        name,
        len(named),
        ", ".join(map(repr, named[:_NAMED_IN_LOG])),
        ", ..." if len(named) > _NAMED_IN_LOG else "",
    )
