"""What is sewn to clothes: zips, buttons, collars, cuffs, pockets, side stripes; wear of denim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Float32s
from training.synthetic.bodies.fabric import blotches
from training.synthetic.bodies.palette import scaled
from training.synthetic.bodies.parts import WAIST, Part, Parts
from training.synthetic.bodies.person import Bottom, BottomCut, Person, Top, TopCut
from training.synthetic.bodies.places import Bools, Places

ZIP_HALF, PLACKET_HALF = 0.007, 0.017
BUTTON_SPACING = 0.085


def sew(albedo: Float32s, at: Places, parts: Parts, person: Person) -> None:
    """Add the details of top, bottom and shoes.

    Args:
        albedo: (N, 3), changed in place.
        at: N points.
        parts: (N,) the part of each.
        person: cuts and colours.
    """
    _sew_top(albedo, at, parts, person.top)
    if person.bottom.cut in {BottomCut.TROUSERS, BottomCut.SHORTS}:
        _sew_trousers(albedo, at, parts, person.bottom)
    shoes = np.flatnonzero(parts == Part.SHOE)
    laces = (np.abs(at.z[shoes] + 0.8) < 0.012) & (at.y[shoes] < -0.05)
    albedo[shoes[laces]] *= 0.75


def _sew_top(albedo: Float32s, at: Places, parts: Parts, top: Top) -> None:
    """Add what the cut has down the front, at the neck, at the cuffs and at the hem."""
    points = np.flatnonzero(parts == Part.TOP)
    x, y, z, arm = at.x[points], at.y[points], at.z[points], at.arm[points]
    colour = albedo[points]
    front = ~arm & (y < -0.02)
    if top.opening == 0:
        _close_front(colour, x, z, front, top)
    edge = at.along_arm[points]
    match top.cut:
        case TopCut.SHIRT:
            colour[~arm & (z > top.neckline - 0.03)] *= 0.86
            colour[front & (np.abs(x - 0.075) < 0.045) & (np.abs(z - 0.345) < 0.005)] *= 0.7
        case TopCut.JUMPER | TopCut.HOODIE:
            ribs = (arm & (edge > top.sleeve - 0.16)) | (~arm & (z < top.hem + 0.05))
            colour[ribs & (at.piece[points] < 0.5)] *= 0.82
        case TopCut.JACKET | TopCut.COAT:
            colour[~arm & (z > top.neckline - 0.04)] *= 0.8
            pocket = np.abs(z - 0.06 - 0.5 * (np.abs(x) - 0.1)) < 0.006
            colour[front & pocket & (np.abs(np.abs(x) - 0.1) < 0.035)] *= 0.6
        case _:
            colour[~arm & (z > top.neckline - 0.012)] *= 0.85
    if top.cut is TopCut.HOODIE:
        hood = ~arm & (y > 0.0) & (z > 0.42)
        colour[hood] *= (1.0 - 0.35 * (np.abs(z[hood] - 0.43) < 0.012))[:, None]
        pouch = front & (np.abs(x) < 0.11) & (np.abs(z - 0.16) < 0.006)
        colour[pouch] *= 0.7
    albedo[points] = colour


def _close_front(
    colour: Float32s,
    x: Float32s,
    z: Float32s,
    front: Bools,
    top: Top,
) -> None:
    """Draw the line of a zip, or a placket with buttons."""
    if top.zip:
        colour[front & (np.abs(x) < ZIP_HALF)] = scaled(top.accent, 0.6)
    elif top.cut in {TopCut.SHIRT, TopCut.COAT}:
        colour[front & (np.abs(np.abs(x) - PLACKET_HALF) < 0.004)] *= 0.72
        button = (np.abs(z % BUTTON_SPACING - BUTTON_SPACING / 2) < 0.007) & (np.abs(x) < 0.006)
        colour[front & button] = scaled(top.colour, 0.45 if sum(top.colour) > 0.5 else 2.5)


def _sew_trousers(albedo: Float32s, at: Places, parts: Parts, bottom: Bottom) -> None:
    """Add a belt, side stripes, pockets and the wear of denim."""
    points = np.flatnonzero(parts == Part.BOTTOM)
    x, y, z = np.abs(at.x[points]), at.y[points], at.z[points]
    colour = albedo[points]
    if bottom.denim:
        colour *= _worn(at, points, z, y)[:, None]
    outer = x > np.interp(z, [-0.8, -0.4, 0.0], [0.185, 0.165, 0.13])
    if bottom.side is not None:
        colour[outer & (np.abs(y) < 0.02)] = bottom.side
    else:
        colour[outer & (np.abs(y) < 0.005)] *= 0.75
    colour[z > WAIST - 0.035] *= 0.6
    flap = (y > 0.03) & (np.abs(x - 0.085) < 0.05) & (np.abs(z + 0.005) < 0.005)
    colour[flap] *= 0.65
    colour[(y < -0.05) & (np.abs(z + 0.01 + 0.6 * (x - 0.12)) < 0.005) & (x > 0.08)] *= 0.7
    albedo[points] = colour


def _worn(at: Places, points: NDArray[np.int64], z: Float32s, y: Float32s) -> Float32s:
    """Weigh the wear of denim: pale thighs and knees, mottled all over, dark at the seams."""
    thigh = np.exp(-(((z + 0.25) / 0.13) ** 2)) * (y < -0.02)
    seat = 0.6 * np.exp(-(((z + 0.05) / 0.07) ** 2)) * (y > 0.04)
    wear: Float32s = 0.92 + 0.4 * (thigh + seat) + 0.05 * blotches(at, 5, 1.0)[points]
    return wear
