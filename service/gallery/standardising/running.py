"""Statistics of a gallery's cameras, kept up to date with its crops.

The statistics in force never change: a query sees those of its view, so an answer depends only on
the writes before it. They are renewed, from a bounded sample of rows, once enough of their crops
were added or removed. A write therefore costs O(D) on average whatever the size of the gallery. For
a camera that is not standardised, only a count is kept.

Letters: N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import rows_at
from service.gallery.standardising.cameras import Float32s, Slots, Standard, Standards

MIN_CROPS = 128
"""Fewest crops of a standardised camera. With fewer, the mean depends too much on which people were
there. Measured in docs/benchmarks.md: with 128, no data set lost more than half a point of mAP,
whichever people the crops showed; with 64 crops of few people, one lost nearly five."""
MIN_DIRECTIONS = 16
"""Fewest directions in which they must differ (:func:`directions`): a thousand crops of three
people still show only three people. Those 64 crops of 18 people differ in 17 directions; with fewer
people, standardising costs more than it gains. The limit is at most a quarter of D, for embeddings
shorter than those of any real network."""
MIN_SPREAD = 0.65
"""Smallest variance, as a share of that of the camera with the largest: crops of one person differ
in many directions too, but less. Measured: 0.32 to 0.52 for one person, 0.83 and more for a
camera."""
RENEW_SHARE = 0.1
"""Share of crops that must have been added or removed before statistics are renewed."""
SAMPLE = 2048
"""Most rows that statistics are computed from, evenly spaced; 256 gave the same accuracy as all."""
_FLOOR = 0.1  # of the mean deviation; real dimensions are above 0.3, and no single one may dominate
_DIRECTIONS_FROM = 128  # rows, evenly spaced: more rows would give a larger number
_LEAST_SPREAD = 1e-4  # mean squared distance from the mean; below it, all crops are one picture


class RunningStandards:
    """Keeps the statistics of a gallery's cameras up to date. Only one thread may write.

    Whether a camera is standardised, and with which statistics, is decided when it reaches the
    minimum number of crops, and again whenever ``RENEW_SHARE`` of them were added or removed.
    """

    def __init__(self) -> None:
        self._everyone = _Tally()
        self._cameras: dict[int, _Tally] = {}
        self._standards = Standards()
        self._serial = 0

    @property
    def now(self) -> Standards:
        """The statistics in force."""
        return self._standards

    def copied(self) -> RunningStandards:
        """A copy, for a write that may still fail."""
        copy = RunningStandards()
        copy._everyone = replace(self._everyone)
        copy._cameras = {camera: replace(tally) for camera, tally in self._cameras.items()}
        copy._standards, copy._serial = self._standards, self._serial
        return copy

    def follow(
        self,
        vectors: Float32s,
        cameras: NDArray[np.int32],
        alive: NDArray[np.bool_],
        *,
        added: Slots,
        removed: Slots,
    ) -> Standards:
        """Update the statistics for a write.

        Args:
            vectors: (S, D) float32, every row of the gallery.
            cameras: (S,) code of each row's camera, -1 if unknown.
            alive: (S,) which rows are alive after the write.
            added: slots that were added.
            removed: slots that were removed.

        Returns:
            The statistics in force after the write.
        """
        touched = self._count(cameras[added], 1) | self._count(cameras[removed], -1)
        due = [camera for camera in sorted(touched) if self._cameras[camera].due]
        if due or self._everyone.due:
            living = np.flatnonzero(alive)
            own = _of_cameras(living, cameras, due)
            overall = self._standards.overall
            if self._everyone.due:
                overall = self._take(vectors, living)
            self._standards = Standards(overall, self._enter(vectors, own))
        for tally in (self._everyone, *(self._cameras[camera] for camera in due)):
            tally.decide()
        return self._standards

    def _count(self, codes: NDArray[np.int32], sign: int) -> set[int]:
        """Count added or removed rows; returns their cameras."""
        self._everyone.change(len(codes), sign)
        found, counts = np.unique(codes[codes >= 0], return_counts=True)
        for camera, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._cameras.setdefault(camera, _Tally()).change(count, sign)
        return set(found.tolist())

    def _enter(self, vectors: Float32s, own: Mapping[int, Slots]) -> dict[int, Standard]:
        """The statistics of all standardised cameras after deciding about those with these rows."""
        cameras = dict(self._standards.cameras)
        for camera, slots in own.items():
            cameras.pop(camera, None)
            standard = self._take(vectors, slots)
            some = rows_at(vectors, _spread(slots, _DIRECTIONS_FROM))
            if standard and directions(some) >= min(MIN_DIRECTIONS, vectors.shape[1] / 4):
                cameras[camera] = standard
        least = MIN_SPREAD * max((one.spread for one in cameras.values()), default=0.0)
        return {
            camera: one
            for camera, one in cameras.items()
            if camera not in own or one.spread >= least
        }

    def _take(self, vectors: Float32s, slots: Slots) -> Standard | None:
        """Statistics of these rows; None if they are too few, or all the same picture."""
        if len(slots) < MIN_CROPS:
            return None
        rows = rows_at(vectors, _spread(slots, SAMPLE)).astype(np.float64)
        mean, variance = rows.mean(axis=0), rows.var(axis=0)
        if variance.sum() < _LEAST_SPREAD:
            return None
        self._serial += 1
        floor = _FLOOR * np.sqrt(variance.mean())
        return Standard(self._serial, len(slots), mean, np.maximum(np.sqrt(variance), floor))


def directions(rows: Float32s) -> float:
    """Count the directions in which rows differ: the effective rank of their covariance.

    It is the squared sum of the eigenvalues divided by the sum of their squares. One crop each of n
    very different people gives n - 1 directions; many crops of a few people give hardly more than
    the number of people.

    Args:
        rows: (N, D) float32; at most 128 of them, evenly spaced, are used.

    Returns:
        1 to N - 1; 0 if all rows are equal.
    """
    some = rows[_spread(np.arange(len(rows)), _DIRECTIONS_FROM)].astype(np.float64)
    centred = some - some.mean(axis=0)
    products = centred @ centred.T  # has the same eigenvalues as the covariance
    total = float(np.trace(products))
    return total**2 / float((products**2).sum()) if total > _LEAST_SPREAD else 0.0


@dataclass(slots=True)
class _Tally:
    """Number of crops of one camera, or of all."""

    count: int = 0
    changes: int = 0  # since the last decision
    decided_at: int = 0  # number of crops at the last decision; 0 while too few

    @property
    def due(self) -> bool:
        if max(self.count, self.decided_at) < MIN_CROPS:
            return False
        return self.changes >= max(1.0, RENEW_SHARE * self.decided_at)

    def change(self, count: int, sign: int) -> None:
        self.count += sign * count
        self.changes += count

    def decide(self) -> None:
        if self.due:
            self.changes = 0
            self.decided_at = self.count if self.count >= MIN_CROPS else 0


def _of_cameras(
    slots: Slots, cameras: NDArray[np.int32], wanted: Sequence[int]
) -> dict[int, Slots]:
    """The slots of each wanted camera, in their order."""
    chosen = np.zeros(int(cameras.max(initial=-1)) + 2, np.bool_)
    chosen[np.array(wanted, np.int64) + 1] = True
    slots = slots[chosen[cameras[slots] + 1]]
    slots = slots[np.argsort(cameras[slots], kind="stable")]
    found, starts = np.unique(cameras[slots], return_index=True)
    parts = (
        dict(zip(found.tolist(), np.split(slots, starts[1:]), strict=True)) if len(found) else {}
    )
    return {camera: parts.get(camera, slots[:0]) for camera in wanted}


def _spread(slots: Slots, most: int) -> Slots:
    """At most ``most`` of the slots, evenly spaced."""
    if len(slots) <= most:
        return slots
    return slots[np.linspace(0, len(slots) - 1, most).astype(np.int64)]
