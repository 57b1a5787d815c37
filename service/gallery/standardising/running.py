"""Statistics of a gallery's cameras, kept in step with its crops.

The statistics in force are frozen: a query sees those of its snapshot, and an answer depends on the
writes alone. They are taken anew once enough of their crops have come or gone, from at most so many
rows: a write costs O(D) on average whatever the size of the gallery, and nothing but a count is
kept of a camera that takes no part.

Letters: N rows, D dimensions, S slots of the gallery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.gallery.standardising.cameras import Float32s, Slots, Standard, Standards

MIN_CROPS = 128
"""Crops before a camera takes part: with fewer, the mean holds too much of who was there. Measured
in docs/benchmarks.md: at 128 no data set lost more than half a point of mAP, whoever the crops
showed, at 64 crops of few people one lost nearly five."""
MIN_DIRECTIONS = 16
"""In how many directions they must differ (:func:`directions`): a thousand crops of three people
are three people. Those 64 crops of 18 people differ in 17; fewer people cost more than the camera.
At most a quarter of D, for embeddings shorter than any network's."""
MIN_SPREAD = 0.65
"""How widely they must be spread, as a share of the variance of the camera that is spread most: one
person's crops differ in many directions too, but by less. Measured: 0.32 to 0.52 for one person,
0.83 and more for a camera."""
RENEW_SHARE = 0.1
"""Statistics are taken anew once so many of their crops have come or gone, as a share."""
SAMPLE = 2048
"""Rows statistics are taken from, evenly spread over more; 256 measure as well as all."""
_FLOOR = 0.1  # of the mean deviation; real dimensions lie above 0.3 of it, none may count for all
_DIRECTIONS_FROM = 128  # rows, evenly spread: the number grows with the rows it is taken from
_LEAST_SPREAD = 1e-4  # mean squared distance to the mean; below it the crops are one picture


class RunningStandards:
    """Keeps the statistics of a gallery's cameras in step with its crops. One thread writes.

    A camera is decided upon (enter, leave, new statistics) when it reaches the minimum and whenever
    the crops that came or went since make up ``RENEW_SHARE`` of those it had.
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
        """The same statistics, to follow a write that may still fail."""
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
        """Count rows that came or went; returns their cameras."""
        self._everyone.change(len(codes), sign)
        found, counts = np.unique(codes[codes >= 0], return_counts=True)
        for camera, count in zip(found.tolist(), counts.tolist(), strict=True):
            self._cameras.setdefault(camera, _Tally()).change(count, sign)
        return set(found.tolist())

    def _enter(self, vectors: Float32s, own: Mapping[int, Slots]) -> dict[int, Standard]:
        """Cameras that take part, once those with these rows are decided upon."""
        cameras = dict(self._standards.cameras)
        for camera, slots in own.items():
            cameras.pop(camera, None)
            standard = self._take(vectors, slots)
            some = vectors[_spread(slots, _DIRECTIONS_FROM)]
            if standard and directions(some) >= min(MIN_DIRECTIONS, vectors.shape[1] / 4):
                cameras[camera] = standard
        least = MIN_SPREAD * max((one.spread for one in cameras.values()), default=0.0)
        return {
            camera: one
            for camera, one in cameras.items()
            if camera not in own or one.spread >= least
        }

    def _take(self, vectors: Float32s, slots: Slots) -> Standard | None:
        """Statistics of these rows; None where they are too few or one picture."""
        if len(slots) < MIN_CROPS:
            return None
        rows = vectors[_spread(slots, SAMPLE)].astype(np.float64)
        mean, variance = rows.mean(axis=0), rows.var(axis=0)
        if variance.sum() < _LEAST_SPREAD:
            return None
        self._serial += 1
        floor = _FLOOR * np.sqrt(variance.mean())
        return Standard(self._serial, len(slots), mean, np.maximum(np.sqrt(variance), floor))


def directions(rows: Float32s) -> float:
    """In how many directions rows differ from their mean: the effective rank of their covariance.

    The squared sum of its eigenvalues over the sum of their squares: n people seen once each, far
    apart, differ in n - 1 directions; many crops of a few people in hardly more than those few.

    Args:
        rows: (N, D) float32; at most 128, evenly spread, are looked at.

    Returns:
        1 to N - 1; 0 where all rows are equal.
    """
    some = rows[_spread(np.arange(len(rows)), _DIRECTIONS_FROM)].astype(np.float64)
    centred = some - some.mean(axis=0)
    products = centred @ centred.T  # has the eigenvalues of the covariance
    total = float(np.trace(products))
    return total**2 / float((products**2).sum()) if total > _LEAST_SPREAD else 0.0


@dataclass(slots=True)
class _Tally:
    """Crops of one camera, or of all."""

    count: int = 0
    changes: int = 0  # since it was decided upon
    decided_at: int = 0  # crops there were then; 0 while too few

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
    """Those of the slots that each wanted camera has, in their order."""
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
    """At most so many of them, evenly spread."""
    if len(slots) <= most:
        return slots
    return slots[np.linspace(0, len(slots) - 1, most).astype(np.int64)]
