"""A way, walked in time: where somebody is at any moment, and in which pose."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from training.synthetic.bodies.pose import Pose, Stance
from training.synthetic.scenes.paths import POINT, Way

Vector = NDArray[np.float64]

TICK = 0.1  # seconds between the rows of a walk
STRIDE_METRES = 0.885  # metres that a stride of 1 covers, as the pose's feet do while they bear
RAMP = 10  # ticks from walking to standing
STANDING = 0.02  # share of the usual pace below which somebody stands
TURNING = 0.25  # seconds in which somebody turns (standard deviation)
WHEELING = 0.9  # seconds in which a row turns, so that the outer one need not run
GAP = 0.72  # metres between those who walk side by side


@dataclass(frozen=True, slots=True)
class Pace:
    """How a party walks.

    Attributes:
        speed: metres per second.
        stop: ticks that it stands in the middle of its way, 0 for none.
    """

    speed: float
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One person's way through one camera's street.

    Attributes:
        identity: from 1.
        visit: number of the walk among the camera's.
        start: tick of the first row; 0 is the first frame, and earlier ones are negative.
        table: (T, 5) float64, one row per tick: x and y in metres, yaw in radians (unwrapped),
            strides walked, share of the usual pace.
        pose: the usual pose of this walk.
    """

    identity: int
    visit: int
    start: int
    table: Vector
    pose: Pose

    @property
    def end(self) -> int:
        """Tick of the last row."""
        return self.start + len(self.table) - 1

    def at(self, second: float) -> tuple[float, float, float, Pose] | None:
        """Where the person is.

        Args:
            second: since the first frame.

        Returns:
            x and y in metres, yaw in radians, and the pose; None before and after the walk.
        """
        tick = second / TICK - self.start
        if not 0.0 <= tick <= len(self.table) - 1:
            return None
        ticks = np.arange(len(self.table))
        x, y, yaw, strides, pace = (float(np.interp(tick, ticks, row)) for row in self.table.T)
        return x, y, yaw, _posed(self.pose, strides, pace, second)


def _posed(pose: Pose, strides: float, pace: float, second: float) -> Pose:
    """The pose of a moment; whoever stands looks around more."""
    stands = pace < STANDING
    around = math.sin(0.7 * second + 7.0 * pose.phase)
    return replace(
        pose,
        stance=Stance.STAND if stands else Stance.WALK,
        phase=strides % 1.0,
        stride=pose.stride * pace,
        turn=pose.turn * (0.4 + 0.6 * (1.0 - pace)) * around,
        sway=pose.sway * (1.0 - pace),
    )


def stride_for(speed: float, *, skirted: bool) -> float:
    """How long steps are at a speed.

    Args:
        speed: metres per second.
        skirted: a skirt allows short steps only.

    Returns:
        The pose's stride.
    """
    return float(np.clip(speed, 0.7, 1.35)) * (0.75 if skirted else 1.0)


def walk_way(way: Way, pace: Pace, aside: float, stride: float, facing: float) -> Vector:
    """Walk a way.

    Args:
        way: where.
        pace: how fast, and whether with a stop at the way's middle.
        aside: metres to the left of the way.
        stride: of the walker's pose, times the length of the legs (1 is average).
        facing: radians to the left that the walker turns while standing.

    Returns:
        (T, 5) float64, see :class:`Walk`.
    """
    along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(way.points, axis=0), axis=1))]
    share = _shares(pace, along[-1], way.via)
    place = np.minimum(np.cumsum(share) * pace.speed * TICK, along[-1])
    heading = _headings(way.points, along, place, TURNING * pace.speed)
    abreast = _headings(way.points, along, place, WHEELING * pace.speed)
    x, y = (np.interp(place, along, way.points[:, axis]) for axis in (0, 1))
    x, y = x - aside * np.sin(abreast), y + aside * np.cos(abreast)
    steps = np.r_[0.0, np.hypot(np.diff(x), np.diff(y))]
    strides = np.cumsum(steps / (STRIDE_METRES * stride * np.maximum(share, 0.1)))
    if pace.stop:  # the feet are side by side where the legs stop, so that nothing jumps
        strides -= strides[int(share.argmin())]
    yaw = heading + math.pi / 2 + facing * _standing(share)
    return np.stack([x, y, yaw, strides, share], axis=1)


def _shares(pace: Pace, length: float, via: float) -> Vector:
    """(T,) the share of the usual speed in each tick."""
    tick = pace.speed * TICK
    if not pace.stop:
        return np.ones(max(2, math.ceil(length / tick)))
    ramp = 1.0 - (np.arange(RAMP) + 0.5) / RAMP
    slow = RAMP / 2 * tick  # metres of a ramp
    before = max(1, round((via - slow) / tick))
    after = max(1, math.ceil((length - via - slow) / tick))
    stand = np.zeros(pace.stop)
    return np.concatenate([np.ones(before), ramp, stand, ramp[::-1], np.ones(after)])


def _headings(points: Vector, along: Vector, place: Vector, over: float) -> Vector:
    """(T,) directions of the way, smoothed over so many metres (standard deviation)."""
    ahead = np.arctan2(*np.diff(points, axis=0).T[::-1])
    smooth = gaussian_filter1d(np.unwrap(ahead), max(1.0, over / POINT), mode="nearest")
    middles = (along[1:] + along[:-1]) / 2
    return np.asarray(np.interp(place, middles, smooth), np.float64)


def _standing(share: Vector) -> Vector:
    """(T,) rises from 0 to 1 in the second after somebody stops, and falls before they go on."""
    still = (share < STANDING).astype(np.float64)
    if still.sum() < 4 * RAMP:
        return np.zeros(len(share))
    ticks = np.arange(len(share))
    first, last = np.flatnonzero(still)[[0, -1]]
    rise = np.clip(np.minimum(ticks - first, last - ticks) / RAMP, 0.0, 1.0)
    return np.asarray(rise * rise * (3.0 - 2.0 * rise), np.float64)
