"""What lies on the ground: lanes, markings, patches, manhole covers, stains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import Texture

if TYPE_CHECKING:
    from collections.abc import Iterator

Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]

STAIN_METRES = 48.0


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A part of the ground, in metres ahead and aside of the street's own direction.

    Attributes:
        middle: its centre, ahead and aside.
        half: half its length ahead and aside; infinity has no end.
        texture: what it is made of.
        tint: (3,) factor on the texture's reflectance.
        dash: length ahead and aside after which a dash repeats, half of it painted; 0 is solid.
        round: a disc of radius ``half[0]`` instead of a rectangle.
        cover: share of the ground below that it hides.
    """

    middle: tuple[float, float]
    half: tuple[float, float]
    texture: Texture
    tint: Float32s
    dash: tuple[float, float] = (0.0, 0.0)
    round: bool = False
    cover: float = 1.0

    def covers(self, ahead: Float32s, aside: Float32s) -> NDArray[np.bool_]:
        """(N,) whether points lie in the zone."""
        x, y = ahead - self.middle[0], aside - self.middle[1]
        if self.round:
            return np.asarray(x * x + y * y < self.half[0] ** 2)
        inside = (np.abs(x) < self.half[0]) & (np.abs(y) < self.half[1])
        for along, period in ((x, self.dash[0]), (y, self.dash[1])):
            if period > 0.0:
                inside &= (along / period) % 1.0 < 0.5
        return inside


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

    def layers(
        self, points: Float32s
    ) -> Iterator[tuple[NDArray[np.bool_] | None, Texture, Float32s, Zone | None]]:
        """Yield what to paint, from the bottom up.

        Args:
            points: (N, 3) float32 world metres.

        Yields:
            (N,) points covered or None for all, the texture, (N, 2) coordinates in repeats of
            it, the zone or None.
        """
        ahead, aside = rotate(points, self.angle)
        slanted, across = rotate(points, self.angle + self.turn)
        base = np.stack([slanted / self.base.width, across / self.base.height], axis=1)
        yield None, self.base, base, None
        for zone in self.zones:
            covered = zone.covers(ahead, aside)
            if covered.any():
                place = [ahead[covered] / zone.texture.width, aside[covered] / zone.texture.height]
                yield covered, zone.texture, np.stack(place, axis=1), zone

    def stain(self, points: Float32s) -> Float32s:
        """(N,) dirt and damp at points, a factor on reflectance."""
        side = len(self.stains)
        cell = np.floor(points[:, :2] * (side / STAIN_METRES)).astype(np.int64) % side
        return self.stains[cell[:, 0], cell[:, 1]]


def rotate(points: Float32s, angle: float) -> tuple[Float32s, Float32s]:
    """Return how far points (N, 2 or more) lie ahead and aside in a turned frame."""
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return points[:, 0] * cos + points[:, 1] * sin, points[:, 1] * cos - points[:, 0] * sin
