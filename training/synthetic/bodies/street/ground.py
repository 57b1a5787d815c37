"""What lies on the ground: lanes, markings, patches, manhole covers, stains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import Texture

Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]

STAIN_METRES = 48.0


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A part of the ground, in metres ahead and aside of the street's own direction.

    Attributes:
        middle: its centre, ahead and aside.
        half: half its length ahead and aside; infinity has no end.
        texture: what it is made of, or None to tint what lies below.
        tint: (3,) factor on the reflectance.
        dash: length ahead and aside after which a dash repeats, half of it painted; 0 is solid.
        round: a disc of radius ``half[0]`` instead of a rectangle.
    """

    middle: tuple[float, float]
    half: tuple[float, float]
    texture: Texture | None
    tint: Float32s
    dash: tuple[float, float] = (0.0, 0.0)
    round: bool = False

    def covers(self, ahead: Float32s, aside: Float32s) -> NDArray[np.bool_]:
        """(N,) whether points lie in the zone."""
        x, y = ahead - self.middle[0], aside - self.middle[1]
        if self.round:
            return np.asarray(x * x + y * y < self.half[0] ** 2)
        inside = (np.abs(x) < self.half[0]) & (np.abs(y) < self.half[1])
        for along, period in ((x, self.dash[0]), (y, self.dash[1])):
            if period > 0.0:
                inside &= (along / period) % 1.0 < 0.5
        return np.asarray(inside, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The whole ground, the plane of height 0.

    Attributes:
        angle: direction of the street, radians from the x axis.
        turn: direction of the base's slabs against the street's, radians.
        base: what lies where no zone is.
        zones: later ones cover earlier ones.
        stains: (S, S) float32 factors on the reflectance, repeated every 48 metres.
    """

    angle: float
    turn: float
    base: Texture
    zones: tuple[Zone, ...]
    stains: Float32s

    def lay(self, points: Float32s) -> tuple[Ints, Float32s, Float32s]:
        """Return what lies at points.

        Args:
            points: (N, 3) float32 world metres.

        Returns:
            (N,) indices of textures, (N, 2) coordinates in repeats of them, (N, 3) factors on
            their reflectance.
        """
        ahead, aside = rotate(points, self.angle)
        slanted, across = rotate(points, self.angle + self.turn)
        texture = np.full(len(points), self.base.index, np.int64)
        place = np.stack([slanted / self.base.width, across / self.base.height], axis=1)
        tint = np.ones((len(points), 3), np.float32)
        for zone in self.zones:
            rows = np.flatnonzero(zone.covers(ahead, aside))
            if zone.texture is None:
                tint[rows] *= zone.tint
                continue
            texture[rows], tint[rows] = zone.texture.index, zone.tint
            place[rows, 0] = ahead[rows] / zone.texture.width
            place[rows, 1] = aside[rows] / zone.texture.height
        return texture, place, tint * self._stain(points)[:, None]

    def _stain(self, points: Float32s) -> Float32s:
        """(N,) dirt and damp at points, a factor on reflectance."""
        side = len(self.stains)
        cell = np.floor(points[:, :2] * np.float32(side / STAIN_METRES)).astype(np.int64) % side
        return np.asarray(self.stains[cell[:, 0], cell[:, 1]], np.float32)


def rotate(points: Float32s, angle: float) -> tuple[Float32s, Float32s]:
    """Return how far points (N, 2 or more) lie ahead and aside in a turned frame."""
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return points[:, 0] * cos + points[:, 1] * sin, points[:, 1] * cos - points[:, 0] * sin
