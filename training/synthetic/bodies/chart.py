"""Where on the body a point lies: eleven numbers that do not change with pose or body shape.

Every vertex has them, rays interpolate them, and clothes are cut and painted by them. So hems and
stripes stay sharp whatever the mesh, and never slide over the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]


class Column(IntEnum):
    """Columns of a chart."""

    X = 0
    Y = 1
    Z = 2
    ARM = 3
    LEG = 4
    FOOT = 5
    HAND = 6
    ALONG_ARM = 7
    ALONG_LEG = 8
    EYE = 9
    PIECE = 10


class Piece(IntEnum):
    """What a point belongs to: the body, or a piece that is added to it."""

    BODY = 0
    SKIRT = 1
    BAG = 2
    HAIR = 3
    BRIM = 4
    THING = 5
    PHONE = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """The charts of N points.

    Attributes:
        values: (N, 11) float32, a column per :class:`Column`. Positions are those of the neutral
            body in metres: x to the person's left, y to the back, z up from the hip joints. ARM,
            LEG, FOOT, HAND are shares of bone weight, 0..1. ALONG_ARM and ALONG_LEG count joints.
    """

    values: Float32s

    def __len__(self) -> int:
        """Count the points."""
        return len(self.values)

    @property
    def position(self) -> Float32s:
        """(N, 3) position on the neutral body, metres."""
        return self.values[:, :3]

    def column(self, column: Column) -> Float32s:
        """(N,) values of a column."""
        return self.values[:, column]

    @property
    def piece(self) -> NDArray[np.int64]:
        """(N,) :class:`Piece` of each point."""
        return np.rint(self.values[:, Column.PIECE]).astype(np.int64)
