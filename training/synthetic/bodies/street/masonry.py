"""Surfaces laid of units: bricks, stone, slabs, cobbles, tiles, planks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.noise import clouds

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """How units are laid.

    Attributes:
        unit: width and height of a unit, metres.
        count: units across and up until the texture repeats; an even number up with a shift.
        joint: width of the joint, metres.
        shift: how far every second course is shifted, in units.
        colour: (3,) linear reflectance of the units.
        other: (3,) of every second unit in a checkerboard; the colour where all are alike.
        mortar: (3,) of the joints.
        uneven: spread of brightness between units.
        stain: spread of brightness within them.
    """

    unit: tuple[float, float]
    count: tuple[int, int]
    joint: float
    shift: float
    colour: Float32s
    other: Float32s
    mortar: Float32s
    uneven: float
    stain: float


def lay(rng: np.random.Generator, laid: Laid, fineness: float) -> Float32s:
    """Draw a wall or floor of units.

    Args:
        rng: source of randomness.
        laid: units, joints and colours.
        fineness: texels per metre; sizes are rounded to whole texels.

    Returns:
        (rows, columns, 3) float32 linear reflectance that tiles.
    """
    width, height = (max(2, round(side * fineness)) for side in laid.unit)
    columns, rows = width * laid.count[0], height * laid.count[1]
    course, down = np.divmod(np.arange(rows), height)
    shifted = (course % 2 * round(laid.shift * width))[:, None] + np.arange(columns)[None, :]
    number, right = np.divmod(shifted % columns, width)
    edge = np.minimum(
        np.minimum(right, width - 1 - right), np.minimum(down, height - 1 - down)[:, None]
    )
    shade = np.exp(laid.uneven * rng.standard_normal(laid.count[::-1]))[course[:, None], number]
    hue = np.exp(0.12 * laid.uneven * rng.standard_normal((*laid.count[::-1], 3)))
    odd = ((number + course[:, None]) % 2)[:, :, None]
    units = np.where(odd == 1, laid.other, laid.colour) * hue[course[:, None], number]
    units = units * shade[:, :, None]
    half = laid.joint * fineness / 2.0
    covered = np.clip(half - edge, 0.0, 1.0)[:, :, None]
    image = units + covered * (laid.mortar - units)
    stains = np.exp(laid.stain * clouds(rng, (rows, columns), 1.1))
    return np.asarray(image * stains[:, :, None], np.float32)
