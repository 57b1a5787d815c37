"""The columns of a chart as arrays of their own, and where cloth lies around its limb."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Chart, Column, Float32s

Bools = NDArray[np.bool_]

ARM_OUT = (0.743, 0.0, 0.669)  # at a right angle to the neutral body's left arm
LEG_TOP = -0.1  # below, cloth runs around each leg; above, around the trunk


@dataclass(frozen=True, slots=True)
class Places:
    """The columns of N points that decide on parts and paint; all arrays are (N,).

    Attributes:
        x: to the person's left on the neutral body, metres.
        y: to the back, metres.
        z: up from the hip joints, metres.
        arm: whether a point belongs to an arm.
        hand: share of the hand's bones.
        along_arm: joints from the shoulder.
        along_leg: joints from the hip.
        eye: whether a point belongs to an eye.
        piece: which :class:`~training.synthetic.bodies.chart.Piece`, as a float.
    """

    x: Float32s
    y: Float32s
    z: Float32s
    arm: Bools
    hand: Float32s
    along_arm: Float32s
    along_leg: Float32s
    eye: Bools
    piece: Float32s

    @classmethod
    def of(cls, chart: Chart) -> Places:
        """Copy a chart's columns, because contiguous ones are several times quicker to compare."""
        columns = np.ascontiguousarray(chart.values.T)
        return cls(
            x=columns[Column.X],
            y=columns[Column.Y],
            z=columns[Column.Z],
            arm=columns[Column.ARM] > 0.5,
            hand=columns[Column.HAND],
            along_arm=columns[Column.ALONG_ARM],
            along_leg=columns[Column.ALONG_LEG],
            eye=columns[Column.EYE] > 0.5,
            piece=columns[Column.PIECE],
        )

    def __len__(self) -> int:
        """Count the points."""
        return len(self.x)

    def take(self, chosen: NDArray[np.int64]) -> Places:
        """Select points by their indices."""
        return Places(*(getattr(self, each.name)[chosen] for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Wrap:
    """Where N points lie on the cloth that is wrapped around trunk, arm or leg; all are (N,).

    Attributes:
        around: share of a turn from the front, -0.5..0.5, towards the person's left.
        along: metres up the trunk or leg, or down the arm.
        sine: of the angle around the limb.
        cosine: of that angle.
        leg: whether the cloth is wrapped around one leg.
    """

    around: Float32s
    along: Float32s
    sine: Float32s
    cosine: Float32s
    leg: Bools

    def take(self, chosen: NDArray[np.int64]) -> Wrap:
        """Select points by their indices."""
        return Wrap(*(getattr(self, each.name)[chosen] for each in fields(self)))


def wrap(at: Places) -> Wrap:
    """Find where points lie around their limb.

    The axes of the limbs are those of the neutral body: a leg's goes 8 mm outwards per 100 mm
    down, an arm's lies at a right angle to :data:`ARM_OUT`.

    Args:
        at: the points.

    Returns:
        Their places on the wrapped cloth.
    """
    leg = ~at.arm & (at.z < LEG_TOP) & (at.piece < 0.5)
    out, forward, along = at.x.copy(), -0.02 - at.y, at.z.copy()
    legs = np.flatnonzero(leg)
    out[legs] -= np.copysign(0.102 - 0.085 * at.z[legs], at.x[legs])
    arms = np.flatnonzero(at.arm)
    x, along_arm = at.x[arms], at.along_arm[arms]
    bent = np.maximum(along_arm - 1.0, 0.0)
    raised = ARM_OUT[0] * np.abs(x) + ARM_OUT[2] * at.z[arms] - 0.408
    out[arms] = np.where(x > 0, raised, -raised)
    forward[arms] = -0.016 - 0.155 * bent - at.y[arms]
    along[arms] = 0.26 * along_arm
    radius = np.sqrt(out * out + forward * forward) + np.float32(1e-6)
    around: Float32s = np.arctan2(out, forward) * np.float32(0.5 / np.pi)
    return Wrap(around, along, out / radius, forward / radius, leg)


def across_cloth(at: Places, lie: Wrap, around: Float32s, along: Float32s) -> Float32s:
    """Turn slopes on wrapped cloth into vectors.

    Args:
        at: N points.
        lie: where they lie around their limb.
        around: (N,) slope towards growing ``around``.
        along: (N,) slope towards growing ``along``.

    Returns:
        (N, 3) float32, in axes of the neutral body.
    """
    vectors = np.empty((len(at), 3), np.float32)
    vectors[:, 0], vectors[:, 1], vectors[:, 2] = around * lie.cosine, around * lie.sine, along
    arms = np.flatnonzero(at.arm)
    side = np.where(at.x[arms] > 0, np.float32(1.0), np.float32(-1.0))
    bent = np.clip(at.along_arm[arms] - 1.0, 0.0, 1.0)
    out, down = vectors[arms, 0], vectors[arms, 2]
    vectors[arms, 0] = ARM_OUT[0] * out + 0.6 * side * down
    vectors[arms, 1] -= 0.6 * bent * down
    vectors[arms, 2] = side * ARM_OUT[2] * out - 0.7 * down
    return vectors
