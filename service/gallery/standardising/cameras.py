"""What a camera does to every crop alike, taken out of embeddings.

Per camera and dimension: subtract the mean, divide by the deviation; then unit length again, as
training does to link cameras (``training.hhcl.linking.standardise_cameras``). No label is needed.
:mod:`service.gallery.standardising.running` keeps the statistics in step with the crops.

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
_NEVER = -1  # serial of a length that was never computed


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """Statistics in force, of one camera or of the whole gallery.

    Attributes:
        serial: no two statistics of a gallery share it.
        count: crops they were taken from.
        mean: (D,) float64.
        deviation: (D,) float64, above 0.
    """

    serial: int
    count: int
    mean: Float64s
    deviation: Float64s

    @property
    def spread(self) -> float:
        """Mean squared distance of the crops to their mean."""
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
        """Lengths of standardised rows before they are made unit rows, to float32's rounding.

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
        overall: of the whole gallery: for crops without a camera, or of one with too few crops.
        cameras: of each camera that takes part, by its code.
    """

    overall: Standard | None = None
    cameras: Mapping[int, Standard] = field(default_factory=dict)

    @property
    def in_force(self) -> bool:
        """Whether any camera takes part; else embeddings stay as they are."""
        return bool(self.cameras) and self.overall is not None

    def of(self, camera: int | None) -> Standard | None:
        """What standardises crops of a camera.

        Args:
            camera: its code; None where it is unknown.

        Returns:
            Its own statistics or else those of the whole gallery; None while no camera takes part.
        """
        if not self.in_force:
            return None
        return self.overall if camera is None else self.cameras.get(camera, self.overall)

    def split(self, slots: Slots, cameras: NDArray[np.int32]) -> Iterator[tuple[Standard, Slots]]:
        """Slots by the statistics that apply to them.

        Args:
            slots: (N,) of the gallery.
            cameras: (S,) code of each slot's camera, -1 where unknown.

        Yields:
            Statistics and the slots they apply to; nothing while no camera takes part.
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
    """Lengths of standardised rows, computed when a query first needs them. Safe for many threads.

    A length belongs to a row and to the statistics in force; where those were renewed it is
    computed again. Nothing else is stored of the standardised rows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Float32s = np.empty(0, np.float32)
        self._serials: Slots = np.empty(0, np.int64)
        self.computed = 0
        """How many lengths were computed since the start."""

    def of(self, slots: Slots, rows: Float32s, standard: Standard) -> Float32s:
        """Lengths of some rows.

        Args:
            slots: (N,) where the rows stand.
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
