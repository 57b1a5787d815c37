"""Standardisation of embeddings per camera, which removes a camera's bias.

Per camera and dimension: subtract the mean, divide by the standard deviation, then scale to unit
length, as training does to link cameras (``training.hhcl.linking.standardise_cameras``). No labels
are needed. :mod:`service.gallery.standardising.running` keeps the statistics up to date.

Letters: N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Slots = NDArray[np.int64]

_NO_LENGTH = 1e-12
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
        spread = rows - self.mean
        spread /= self.deviation
        length = np.sqrt(np.einsum("nd,nd->n", spread, spread))
        spread /= np.maximum(length, _NO_LENGTH)[:, None]
        return spread.astype(np.float32)

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

    def split(self, slots: Slots, cameras: NDArray[np.int32]) -> Iterator[tuple[Standard, Slots]]:
        """Group slots by the statistics that apply to them.

        Args:
            slots: (N,) slots of the gallery.
            cameras: (S,) code of each slot's camera, -1 if unknown.

        Yields:
            Statistics and the slots they apply to; nothing while no camera is standardised.
        """
        if self.overall is None or not self.in_force:
            return
        groups = [self.overall, *self.cameras.values()]
        table = np.zeros(int(cameras.max(initial=-1)) + 2, np.int32)
        for group, camera in enumerate(self.cameras, start=1):
            if camera < len(table) - 1:
                table[camera + 1] = group
        group_of = table[cameras[slots] + 1]
        slots = slots[np.argsort(group_of, kind="stable")]
        ends = np.cumsum(np.bincount(group_of, minlength=len(groups)))
        for standard, start, end in zip(groups, [0, *ends[:-1]], ends, strict=True):
            if start < end:
                yield standard, slots[start:end]


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

    def of(self, slots: Slots, rows: Float32s, standard: Standard) -> Float32s:
        """Lengths of some rows.

        Args:
            slots: (N,) slots of the rows.
            rows: (N, D) float32, the rows.
            standard: the statistics that apply to them.

        Returns:
            (N,) float32.
        """
        with self._lock:
            self._make_room(int(slots.max(initial=-1)) + 1)
            stale = np.flatnonzero(self._serials[slots] != standard.serial)
            if len(stale):
                self._values[slots[stale]] = standard.lengths(rows[stale])
                self._serials[slots[stale]] = standard.serial
                self.computed += len(stale)
            return self._values[slots]

    def _make_room(self, slots: int) -> None:
        if slots > len(self._values):
            more = max(slots, 2 * len(self._values)) - len(self._values)
            self._values = np.concatenate([self._values, np.zeros(more, np.float32)])
            self._serials = np.concatenate([self._serials, np.full(more, _NEVER)])
