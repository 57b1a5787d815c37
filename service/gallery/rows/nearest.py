"""Exact nearest rows: products or a GPU's index find candidates, and one formula ranks them.

Whatever finds the candidates, :mod:`service.gallery.scoring` scores them. So a query has the same
answer to the last bit alone or in a batch, filtered or not, on a GPU or a CPU, and equal rows tie
exactly.
"""

from __future__ import annotations

import threading
from typing import Literal, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from service.errors import Unavailable
from service.gallery.allocation import rows_at
from service.gallery.base import Hit
from service.gallery.bounds import Bounds
from service.gallery.rows.view import GalleryView
from service.gallery.scoring import best_first, cosines

Scores = NDArray[np.float32]
Slots = NDArray[np.int64]

# Candidates fetched from a GPU beyond top_k, usually enough to prove that no tie was cut off.
_SPARE = 8
# A GPU may multiply with fewer bits (TF32 has 10), so its margin is wider.
_MARGIN_GPU = 4e-3
_SCORES_AT_ONCE = 1 << 24  # 64 MiB
# The most that every GPU build of FAISS can select.
_GPU_TOP_K = 2048
_GPU_STALE_ROWS = 512


class Index(Protocol):
    """The part of a FAISS flat index that is used here."""

    ntotal: int

    def add(self, x: NDArray[np.float32], /) -> None:
        """Append rows."""
        ...

    def reset(self) -> None:
        """Remove all rows."""
        ...

    def search(self, x: NDArray[np.float32], k: int, /) -> tuple[Scores, Slots]:
        """Best rows by inner product."""
        ...


def resolve_device(wanted: Literal["auto", "cuda", "cpu"]) -> Literal["cuda", "cpu"]:
    """Decide where unfiltered queries run.

    Args:
        wanted: ``auto`` uses a GPU if FAISS can use one, ``cuda`` requires it.

    Returns:
        ``cuda`` or ``cpu``.

    Raises:
        Unavailable: ``cuda`` is wanted and FAISS sees no GPU.
    """
    if wanted == "cpu":
        return "cpu"
    try:
        gpus = faiss.get_num_gpus()
    except RuntimeError:  # a GPU build on a machine without a driver
        gpus = 0
    if gpus > 0:
        return "cuda"
    if wanted == "cuda":
        raise Unavailable(
            f"gallery device 'cuda': FAISS {faiss.__version__} finds no GPU; install a GPU build "
            "and check the driver, or choose 'auto' or 'cpu'"
        )
    return "cpu"


class Gpu:
    """The first GPU, shared by all galleries of a store.

    Args:
        required: whether a failure is an error instead of a reason to use the CPU.
    """

    def __init__(self, *, required: bool) -> None:
        self.required = required
        self._resources = faiss.StandardGpuResources()
        # The default reserves 1.5 GB, which the network on the same GPU may need.
        self._resources.setTempMemory(256 << 20)
        self._lock = threading.Lock()  # one set of resources serves one thread at a time

    def mirror(self, dimension: int) -> Mirror:
        """An empty mirror.

        Args:
            dimension: D of the embeddings.
        """
        return Mirror(faiss.GpuIndexFlatIP(self._resources, dimension), self._lock)


class Mirror:
    """A copy of the living rows in an append-only FAISS index, such as one on a GPU.

    It answers unfiltered queries only: classic GPU flat indexes silently ignore selectors.

    Args:
        index: an empty flat index by inner product.
        lock: held while the index works.
    """

    def __init__(self, index: Index, lock: threading.Lock) -> None:
        self._index = index
        self._lock = lock
        self._slots: Slots = np.empty(0, np.int64)
        self._generation = 0
        self._followed = 0

    def search(self, view: GalleryView, queries: Scores, fetch: int) -> tuple[Scores, Slots] | None:
        """Find the best living rows of a view.

        Args:
            view: the gallery as the query sees it.
            queries: (Q, D) float32.
            fetch: rows per query, at most the number of living rows.

        Returns:
            Scores and slots, both (Q, fetch), best first; None if the mirror cannot answer.
        """
        with self._lock:
            self._follow(view)
            if view.generation != self._generation:
                return None
            known = self._slots < len(view.alive)
            known[known] = view.alive[self._slots[known]]
            living = np.count_nonzero(known)
            stale = len(known) - int(living)
            # An older view may hold a crop that was deleted before the mirror saw it.
            if living < np.count_nonzero(view.alive) or fetch + stale > _GPU_TOP_K:
                return None
            scores, rows = self._index.search(queries, fetch + stale)
        # A stable sort moves stale rows behind living ones and keeps the order of both.
        order = np.argsort(~known[rows], axis=1, kind="stable")[:, :fetch]
        return np.take_along_axis(scores, order, 1), self._slots[np.take_along_axis(rows, order, 1)]

    def _follow(self, view: GalleryView) -> None:
        if view.generation < self._generation:
            return  # the query began before a compaction
        dead = int(np.count_nonzero(~view.alive[self._slots[self._slots < len(view.alive)]]))
        if view.generation > self._generation or dead > _GPU_STALE_ROWS:
            self._index.reset()
            self._slots, self._followed = self._slots[:0], 0
            self._generation = view.generation
        new = np.flatnonzero(view.alive[self._followed :]) + self._followed
        if len(new):
            self._index.add(view.columns.vectors[new])
            self._slots = np.concatenate([self._slots, new])
        self._followed = max(self._followed, len(view.alive))


def nearest(
    view: GalleryView,
    mask: NDArray[np.bool_],
    queries: Scores,
    top_k: int,
    mirror: Mirror | None = None,
) -> list[list[Hit]]:
    """Find the exact nearest crops.

    Args:
        view: the gallery at one moment.
        mask: (S,) bool, slots that may be found.
        queries: (Q, D) float32, unit rows.
        top_k: most hits per query, >= 1.
        mirror: a copy of the living rows that answers queries without a filter.

    Returns:
        Q lists of hits, best first; ties in the order of crop ids.
    """
    if mirror is not None and mask is view.alive:
        found = _by_mirror(view, queries, top_k, mirror)
        if found is not None:
            return found
    slots = np.flatnonzero(mask)
    step = max(1, _SCORES_AT_ONCE // max(1, len(slots)))
    hits: list[list[Hit]] = []
    for start in range(0, len(queries), step):
        hits += _by_products(view, slots, queries[start : start + step], top_k)
    return hits


def _by_mirror(
    view: GalleryView, queries: Scores, top_k: int, mirror: Mirror
) -> list[list[Hit]] | None:
    """The nearest living rows; None if the mirror cannot answer."""
    living = int(np.count_nonzero(view.alive))
    top_k = min(top_k, living)
    hits: list[list[Hit]] = [[] for _ in queries]
    pending = np.arange(len(queries))
    fetch = min(living, top_k + _SPARE)
    while top_k and len(pending):
        found = mirror.search(view, queries[pending], fetch)
        if found is None:
            return None
        scores, slots = found
        # A row that was not fetched scores at most as high as the last one that was, so below the
        # margin it cannot tie.
        done = (scores[:, -1] < scores[:, top_k - 1] - _MARGIN_GPU) | (fetch == living)
        for query, own in zip(pending[done], slots[done], strict=True):
            hits[query] = _rank(view, queries[query], own)[:top_k]
        pending = pending[~done]
        fetch = min(living, 4 * fetch)
    return hits


def _by_products(view: GalleryView, slots: Slots, queries: Scores, top_k: int) -> list[list[Hit]]:
    """The nearest of some rows, by products of rows with each query."""
    top_k = min(top_k, len(slots))
    if not top_k:
        return [[] for _ in queries]
    bounds = Bounds.of(view.columns.vectors, queries, view.components)
    return [
        _rank(view, query, own)[:top_k]
        for query, own in zip(queries, bounds.likely(slots, top_k), strict=True)
    ]


def _rank(view: GalleryView, query: Scores, slots: Slots) -> list[Hit]:
    scores = cosines(rows_at(view.columns.vectors, slots), query)
    return best_first(
        Hit(view.crops[slot], score) for slot, score in zip(slots.tolist(), scores, strict=True)
    )
