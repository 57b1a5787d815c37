"""The columns of a chart as arrays of their own, and where cloth lies around its limb."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Chart, Column, Float32s

Bools = NDArray[np.bool_]

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


@dataclass(frozen=True, slots=True)
class Wrap:
    """Where N points lie on the cloth that is wrapped around trunk, arm or leg.

    Attributes:
        around: (N,) share of a turn from the front, -0.5..0.5, towards the person's left.
        along: (N,) metres up the trunk or leg, or down the arm.
        sideways: (N, 3) unit direction of growing ``around``, in axes of the neutral body.
        lengthways: (N, 3) unit direction of growing ``along``.
        leg: (N,) whether the cloth is wrapped around one leg.
    """

    around: Float32s
    along: Float32s
    sideways: Float32s
    lengthways: Float32s
    leg: Bools


def wrap(at: Places) -> Wrap:
    """Find where points lie around their limb.

    The axes of the limbs are those of the neutral body: a leg's goes 8 mm outwards per 100 mm
    down, an arm's lies at a right angle to (0.743, 0, 0.669).

    Args:
        at: the points.

    Returns:
        Their places on the wrapped cloth.
    """
    side = np.sign(at.x)
    leg = ~at.arm & (at.z < LEG_TOP) & (at.piece < 0.5)
    out, forward = at.x.copy(), -0.02 - at.y
    out[leg] -= side[leg] * (0.102 - 0.085 * at.z[leg])
    arms = np.flatnonzero(at.arm)
    mirrored, bent = side[arms], np.maximum(at.along_arm[arms] - 1.0, 0.0)
    out[arms] = mirrored * (0.743 * np.abs(at.x[arms]) + 0.669 * at.z[arms] - 0.408)
    forward[arms] = -0.016 - 0.155 * bent - at.y[arms]
    radius = np.sqrt(out * out + forward * forward) + 1e-6
    sine, cosine = out / radius, forward / radius
    sideways = np.stack([cosine, sine, np.zeros_like(sine)], axis=1)
    lengthways = np.zeros_like(sideways)
    lengthways[:, 2] = 1.0
    sideways[arms, 2] = mirrored * sideways[arms, 0] * 0.669
    sideways[arms, 0] *= 0.743
    lengthways[arms] = np.stack(
        [0.6 * mirrored, -0.6 * np.minimum(bent, 1.0), np.full_like(bent, -0.7)], axis=1
    )
    along = np.where(at.arm, 0.26 * at.along_arm, at.z).astype(np.float32)
    around = (np.arctan2(out, forward) / (2.0 * np.pi)).astype(np.float32)
    return Wrap(around, along, sideways, lengthways, leg)
