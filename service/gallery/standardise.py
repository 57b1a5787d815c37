"""What a camera does to every crop alike, kept up to date and taken out of embeddings.

Per camera and dimension: subtract the mean, divide by the deviation; then unit length again, as
training does to link cameras (``training.linking.standardise_cameras``). No label is needed.

The statistics in force are frozen: a query sees those of its snapshot, and an answer depends on the
writes alone. They are renewed once enough of their crops have changed, so that a write costs O(D)
on average, whatever the size of the gallery.

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

MIN_CROPS = 128
"""Crops before a camera takes part: with fewer, the mean holds too much of who was there. Measured
in docs/benchmarks.md: from here on no data set lost more than half a point of mAP, whoever the
crops showed; at 64 crops of few people one lost three."""
RENEW_SHARE = 0.1
"""Statistics are renewed once so many of their crops have come or gone, as a share."""
_FLOOR = 0.1  # of the mean deviation; real dimensions lie above 0.3 of it, none may count for all
_LEAST_SPREAD = 1e-4  # mean squared distance to the mean; below it the crops are one picture
_NO_LENGTH = 1e-12
_UNKNOWN = -1  # code of no camera
_ROWS_AT_ONCE = 64  # a block in float64 stays in the cache
_NOBODY = -1  # serial of a length that was never computed


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

    def apply(self, rows: Float32s) -> Float32s:
        """Standardise rows.

        Args:
            rows: (N, D) float32.

        Returns:
            (N, D) float32, unit rows; a row that equals the mean becomes zeros.
        """
        spread = (rows - self.mean) / self.deviation
        length = np.sqrt(np.einsum("nd,nd->n", spread, spread))
        unit: Float32s = (spread / np.maximum(length, _NO_LENGTH)[:, None]).astype(np.float32)
        return unit

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


class RunningStandards:
    """Keeps the statistics of a gallery's cameras in step with its crops. One thread writes.

    Sums are kept only of cameras that have reached the minimum, so that a label on every crop costs
    no memory. A camera's statistics are decided anew (enter, leave, renew) once crops that came or
    went make up ``RENEW_SHARE`` of those they were taken from.
    """

    def __init__(self) -> None:
        self._overall = _Tally()
        self._cameras: dict[int, _Tally] = {}
        self._standards = Standards()
        self._serial = 0

    @property
    def now(self) -> Standards:
        """The statistics in force."""
        return self._standards

    def follow(
        self,
        vectors: Float32s,
        cameras: NDArray[np.int32],
        alive: NDArray[np.bool_],
        *,
        added: Slots,
        removed: Slots,
    ) -> Standards:
        """Take a write into account.

        Args:
            vectors: (S, D) float32, every row of the gallery.
            cameras: (S,) code of each row's camera, -1 where unknown.
            alive: (S,) which rows live after the write.
            added: slots that came to life.
            removed: slots that died.

        Returns:
            The statistics in force after the write.
        """
        touched = set[int]()
        for slots, sign in ((added, 1), (removed, -1)):
            for camera, own in _by_camera(slots, cameras):
                self._count(vectors, own, camera, sign)
                touched.add(camera)
        touched.discard(_UNKNOWN)
        if self._overall.begins:
            self._overall.sums = _Sums.of(vectors, np.flatnonzero(alive))
        for camera in touched:
            if self._cameras[camera].begins:
                own = np.flatnonzero(alive & (cameras == camera))
                self._cameras[camera].sums = _Sums.of(vectors, own)
        return self._decide({camera for camera in touched if self._cameras[camera].due})

    def renew(self) -> Standards:
        """Put the statistics of this moment in force, as after a restart."""
        return self._decide(
            {camera for camera, tally in self._cameras.items() if tally.sums}, everything=True
        )

    def _count(self, vectors: Float32s, slots: Slots, camera: int, sign: int) -> None:
        tallies = [self._overall]
        if camera != _UNKNOWN:
            tallies.append(self._cameras.setdefault(camera, _Tally()))
        for tally in tallies:
            tally.count += sign * len(slots)
            tally.changes += len(slots)
        kept = [tally.sums for tally in tallies if tally.sums is not None]
        if kept:
            change = _Sums.of(vectors, slots)
            for sums in kept:
                sums.add(change, sign)

    def _decide(self, due: set[int], *, everything: bool = False) -> Standards:
        overall, cameras = self._standards.overall, dict(self._standards.cameras)
        if everything or self._overall.due:
            overall = self._renewed(self._overall)
        for camera in sorted(due):
            standard = self._renewed(self._cameras[camera])
            cameras.pop(camera, None)
            if standard is not None:
                cameras[camera] = standard
        if due or overall is not self._standards.overall:
            self._standards = Standards(overall, cameras)
        return self._standards

    def _renewed(self, tally: _Tally) -> Standard | None:
        self._serial += 1
        return tally.decide(self._serial)


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
            self._serials = np.concatenate([self._serials, np.full(more, _NOBODY)])


@dataclass(slots=True)
class _Tally:
    """Crops of one camera, or of all; their sums once there are enough."""

    count: int = 0
    changes: int = 0  # since the statistics were decided
    decided_at: int = 0  # crops there were then
    sums: _Sums | None = None

    @property
    def begins(self) -> bool:
        return self.sums is None and self.count >= MIN_CROPS

    @property
    def due(self) -> bool:
        return self.sums is not None and self.changes >= RENEW_SHARE * self.decided_at

    def decide(self, serial: int) -> Standard | None:
        self.changes, self.decided_at = 0, self.count
        if self.sums is None or self.count < MIN_CROPS:
            self.sums, self.decided_at = None, 0
            return None
        return self.sums.standard(serial, self.count)


@dataclass(slots=True)
class _Sums:
    total: Float64s
    squares: Float64s

    @classmethod
    def of(cls, vectors: Float32s, slots: Slots) -> _Sums:
        sums = cls(np.zeros(vectors.shape[1]), np.zeros(vectors.shape[1]))
        for start in range(0, len(slots), _ROWS_AT_ONCE):
            rows = vectors[slots[start : start + _ROWS_AT_ONCE]].astype(np.float64)
            sums.total += rows.sum(axis=0)
            sums.squares += np.einsum("nd,nd->d", rows, rows)
        return sums

    def add(self, other: _Sums, sign: int) -> None:
        self.total += sign * other.total
        self.squares += sign * other.squares

    def standard(self, serial: int, count: int) -> Standard | None:
        mean = self.total / count
        variance = np.maximum(self.squares / count - mean**2, 0.0)
        if variance.sum() < _LEAST_SPREAD:
            return None
        floor = _FLOOR * np.sqrt(variance.mean())
        return Standard(serial, count, mean, np.maximum(np.sqrt(variance), floor))


def _by_camera(slots: Slots, cameras: NDArray[np.int32]) -> Iterator[tuple[int, Slots]]:
    codes = cameras[slots]
    for code in np.unique(codes).tolist():
        yield code, slots[codes == code]
