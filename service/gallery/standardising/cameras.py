"""Standardisation of embeddings per camera, which removes a camera's bias.

Per camera and dimension: subtract the mean, divide by the standard deviation, then scale to unit
length, as training does to link cameras (``training.hhcl.linking.standardise_cameras``). No labels
are needed. :mod:`service.gallery.standardising.running` keeps the statistics up to date.

Letters: N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import rows_at

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Slots = NDArray[np.int64]

_NO_LENGTH = 1e-12
_ROWS_AT_ONCE = 512  # they stay in the cache
_NEVER = -1  # serial of a length that has not been computed


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """The statistics in force of one camera or of the whole gallery.

    Attributes:
        serial: unique among the statistics of a gallery.
        count: number of crops when they were computed.
        mean: (D,) float64.
        deviation: (D,) float64, above 0.
    """

    serial: int
    count: int
    mean: Float64s
    deviation: Float64s

    @property
    def spread(self) -> float:
        """Mean squared distance of the crops from their mean."""
        return float((self.deviation**2).sum())

    def apply(self, rows: Float32s) -> Float32s:
        """Standardise rows.

        Args:
            rows: (N, D) float32.

        Returns:
            (N, D) float32, unit rows; a row that equals the mean becomes zeros.
        """
        return _scaled(rows, self.mean, self.deviation)

    def lengths(self, rows: Float32s) -> Float32s:
        """Lengths of standardised rows before they are scaled to unit length, in float32.

        Args:
            rows: (N, D) float32.

        Returns:
            (N,) float32.
        """
        spread = rows - self.mean.astype(np.float32)
        spread /= self.deviation.astype(np.float32)
        lengths: Float32s = np.sqrt(np.einsum("nd,nd->n", spread, spread))
        return lengths


@dataclass(frozen=True, slots=True, eq=False)
class Standards:
    """All statistics in force at one moment.

    Attributes:
        overall: of the whole gallery; used for crops without a camera, or of a camera with too few
            crops.
        cameras: of each standardised camera, by its code.
    """

    overall: Standard | None = None
    cameras: Mapping[int, Standard] = field(default_factory=dict)

    @property
    def in_force(self) -> bool:
        """Whether any camera is standardised; otherwise embeddings stay as they are."""
        return bool(self.cameras) and self.overall is not None

    def of(self, camera: int | None) -> Standard | None:
        """The statistics for crops of a camera.

        Args:
            camera: its code; None if unknown.

        Returns:
            Its own statistics, or those of the whole gallery if it has none; None while no camera
            is standardised.
        """
        if not self.in_force:
            return None
        return self.overall if camera is None else self.cameras.get(camera, self.overall)

    @property
    def groups(self) -> list[Standard]:
        """All statistics; empty while no camera is standardised."""
        if self.overall is None or not self.in_force:
            return []
        return [self.overall, *self.cameras.values()]

    def apply(self, rows: Float32s, group_of: Slots) -> Float32s:
        """Standardise rows of several groups, each as :meth:`Standard.apply` does, to the last bit.

        Args:
            rows: (N, D) float32.
            group_of: (N,) which of :attr:`groups` applies to each row.

        Returns:
            (N, D) float32, unit rows.
        """
        if not len(rows):
            return np.empty(rows.shape, np.float32)
        groups, (used, place) = self.groups, np.unique(group_of, return_inverse=True)
        mean = np.stack([groups[group].mean for group in used.tolist()])
        deviation = np.stack([groups[group].deviation for group in used.tolist()])
        return _scaled(rows, mean[place], deviation[place])

    def group_of(self, cameras: NDArray[np.int32]) -> Slots:
        """Which of :attr:`groups` apply to crops.

        Args:
            cameras: (N,) code of each crop's camera, -1 if unknown.

        Returns:
            (N,) int64 indices.
        """
        table = np.zeros(max(self.cameras, default=-1) + 3, np.int64)
        table[np.array([*self.cameras], np.int64) + 1] = np.arange(1, len(self.cameras) + 1)
        # The last entry is 0: it stands for every camera without statistics.
        return table[np.minimum(cameras.astype(np.int64) + 1, len(table) - 1)]


class Lengths:
    """Lengths of standardised rows, computed when first needed. Safe to call from several threads.

    A length belongs to a row and to the statistics in force; if those are renewed, it is computed
    again. Nothing else of the standardised rows is stored.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Float32s = np.empty(0, np.float32)
        self._serials: Slots = np.empty(0, np.int64)
        self.computed = 0
        """Number of lengths computed since the start."""

    def of(
        self, vectors: Float32s, slots: Slots, group_of: Slots, groups: Sequence[Standard]
    ) -> Float32s:
        """Lengths of some rows.

        Args:
            vectors: (S, D) float32, every row of the gallery.
            slots: (N,) slots of the rows.
            group_of: (N,) index of the statistics that apply to each row.
            groups: all statistics.

        Returns:
            (N,) float32.
        """
        serials = np.array([standard.serial for standard in groups], np.int64)[group_of]
        with self._lock:
            self._make_room(len(vectors))
            lengths = self._values[slots]
            stale = np.flatnonzero(self._serials[slots] != serials)
        if len(stale):
            lengths[stale] = _lengths(vectors, slots[stale], group_of[stale], groups)
            with self._lock:
                self._values[slots[stale]] = lengths[stale]
                self._serials[slots[stale]] = serials[stale]
                self.computed += len(stale)
        return lengths

    def _make_room(self, slots: int) -> None:
        if slots > len(self._values):
            more = max(slots, 2 * len(self._values)) - len(self._values)
            self._values = np.concatenate([self._values, np.zeros(more, np.float32)])
            self._serials = np.concatenate([self._serials, np.full(more, _NEVER)])


def _scaled(rows: Float32s, mean: Float64s, deviation: Float64s) -> Float32s:
    spread = rows - mean
    spread /= deviation
    length = np.sqrt(np.einsum("nd,nd->n", spread, spread))
    spread /= np.maximum(length, _NO_LENGTH)[:, None]
    return spread.astype(np.float32)


def _lengths(
    vectors: Float32s, slots: Slots, group_of: Slots, groups: Sequence[Standard]
) -> Float32s:
    lengths = np.empty(len(slots), np.float32)
    for group in np.unique(group_of).tolist():
        own = np.flatnonzero(group_of == group)
        for start in range(0, len(own), _ROWS_AT_ONCE):
            some = own[start : start + _ROWS_AT_ONCE]
            lengths[some] = groups[group].lengths(rows_at(vectors, slots[some]))
    return lengths
