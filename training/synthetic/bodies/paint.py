"""Colour, gloss and folds of a dressed person, point by point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Chart, Float32s
from training.synthetic.bodies.fabric import folds, grain
from training.synthetic.bodies.palette import scaled
from training.synthetic.bodies.parts import Part, Parts
from training.synthetic.bodies.person import Colour, Person, TopCut
from training.synthetic.bodies.places import Places, wrap
from training.synthetic.bodies.prints import print_top
from training.synthetic.bodies.sewing import sew

EYE: Colour = (0.08, 0.06, 0.05)
PHONE: Colour = (0.02, 0.02, 0.022)

GLOSS = {
    Part.SKIN: 0.25,
    Part.TOP: 0.03,
    Part.BOTTOM: 0.03,
    Part.SHOE: 0.2,
    Part.TIGHTS: 0.08,
    Part.HAIR: 0.3,
    Part.EYE: 0.6,
    Part.STRAP: 0.08,
    Part.BAG: 0.12,
    Part.THING: 0.15,
    Part.PHONE: 0.6,
}


@dataclass(frozen=True, slots=True)
class Surface:
    """What N points look like before light falls on them.

    Attributes:
        albedo: (N, 3) linear reflectance, 0..1.
        gloss: (N,) strength of the highlight, 0 dull to 1 polished.
        bump: (N, 3) to add to unit normals, in axes of the neutral body: x to the person's left, y
            to the back, z up. Turn it with the body, then normalise the sum.
    """

    albedo: Float32s
    gloss: Float32s
    bump: Float32s


def paint(person: Person, chart: Chart, parts: Parts) -> Surface:
    """Paint a dressed person.

    Args:
        person: the identity.
        chart: N points.
        parts: (N,) the part of each, from :func:`~training.synthetic.bodies.parts.parts_of`.

    Returns:
        The surface at these points.
    """
    at = Places.of(chart)
    albedo: Float32s = np.take(_colours(person), parts, axis=0)
    lie = wrap(at)
    print_top(albedo, at, lie, parts, person.top)
    sew(albedo, at, parts, person)
    _paint_face(albedo, at, parts, person)
    _streak_hair(albedo, at, parts)
    folded = folds(at, lie, parts, person)
    albedo *= folded.light[:, None]
    _roughen(albedo, at, parts, person)
    np.clip(albedo, 0.0, 1.0, out=albedo)
    return Surface(albedo, np.take(_gloss(person), parts), folded.bump)


def _colours(person: Person) -> Float32s:
    """Lay out the colour of each part as a table."""
    table = np.zeros((max(Part) + 1, 3), np.float32)
    table[Part.SKIN] = person.skin
    table[Part.TOP] = person.top.colour
    table[Part.BOTTOM] = person.bottom.colour
    table[Part.SHOE] = person.shoes.colour
    table[Part.SOLE] = person.shoes.sole
    table[Part.SOCK] = person.shoes.sock
    table[Part.TIGHTS] = person.bottom.tights or person.skin
    table[Part.HAIR] = person.hair.colour
    table[Part.BEARD] = 0.65 * np.array(person.hair.colour) + 0.35 * np.array(person.skin)
    table[Part.EYE] = EYE
    table[Part.HAT] = person.hat.colour
    table[Part.INNER] = person.top.inner
    table[Part.STRAP] = scaled(person.bag.colour, 0.7)
    table[Part.BAG] = person.bag.colour
    table[Part.THING] = person.thing.colour
    table[Part.PHONE] = PHONE
    return table


def _gloss(person: Person) -> Float32s:
    """Lay out the gloss of each part; outdoor jackets shine more than knitwear."""
    table = np.zeros(max(Part) + 1, np.float32)
    for part, gloss in GLOSS.items():
        table[part] = gloss
    if person.top.cut is TopCut.JACKET or person.top.quilted:
        table[Part.TOP] = 0.16
    return table


def _paint_face(albedo: Float32s, at: Places, parts: Parts, person: Person) -> None:
    """Darken lips, brows and sockets, and redden cheeks; a face is a dozen pixels high."""
    face = np.flatnonzero((parts == Part.SKIN) & (at.z > 0.53) & (at.y < -0.06) & ~at.arm)
    if not len(face):
        return
    x, y, z = np.abs(at.x[face]), at.y[face], at.z[face]
    skin = np.array(person.skin, np.float32)
    colour = albedo[face]
    sockets = _spot((x - 0.034) / 0.02, (z - 0.652) / 0.014)
    cheeks = _spot((x - 0.045) / 0.022, (z - 0.61) / 0.02)
    colour *= (1.0 - 0.22 * sockets)[:, None]
    colour[:, 1:] *= (1.0 - 0.12 * cheeks)[:, None]
    lips = (x < 0.026) & (np.abs(z - 0.587) < 0.009) & (y < -0.09)
    colour[lips] = skin * (0.75, 0.45, 0.45)
    brows = (np.abs(x - 0.034) < 0.02) & (np.abs(z - 0.671) < 0.006) & (y < -0.08)
    colour[brows] = 0.7 * np.array(person.hair.colour, np.float32) + 0.2 * skin
    albedo[face] = colour


def _spot(across: NDArray[np.floating], up: NDArray[np.floating]) -> Float32s:
    """Weigh closeness to a spot's centre, 0..1."""
    weight: Float32s = np.exp(-across * across - up * up)
    return weight


def _streak_hair(albedo: Float32s, at: Places, parts: Parts) -> None:
    """Vary hair from strand to strand."""
    hair = np.flatnonzero(parts == Part.HAIR)
    x, z = at.x[hair], at.z[hair]
    strands = np.sin(190.0 * x + 5.0 * np.sin(35.0 * z)) + np.sin(430.0 * x + 60.0 * at.y[hair])
    albedo[hair] *= (1.0 + 0.17 * strands)[:, None]


def _roughen(albedo: Float32s, at: Places, parts: Parts, person: Person) -> None:
    """Roughen cloth by its weave: knitwear and denim most, smooth cloth not at all."""
    depth = np.zeros(max(Part) + 1, np.float32)
    depth[Part.TOP] = 0.06 if person.top.cut in {TopCut.JUMPER, TopCut.HOODIE} else 0.0
    depth[Part.BOTTOM] = 0.07 if person.bottom.denim else 0.0
    depth[[Part.SOCK, Part.HAT, Part.BAG]] = 0.03
    rough = np.flatnonzero(np.take(depth > 0, parts))
    noise = grain(at.x[rough] - at.y[rough], at.z[rough], person.seed)
    albedo[rough] *= (1.0 + depth[parts[rough]] * noise)[:, None]


__all__ = ["Surface", "paint"]
