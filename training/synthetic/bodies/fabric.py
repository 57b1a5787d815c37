"""Folds and weave of cloth: tiles of noise that are wrapped around trunk and limbs.

Folds depend on the chart only, so they stay on the body while it walks. They tilt normals and
darken valleys a little, but move no edge: stripes stay straight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthetic.bodies.chart import Float32s
from training.synthetic.bodies.parts import Part, Parts
from training.synthetic.bodies.person import BottomCut, Person, TopCut
from training.synthetic.bodies.places import Bools, Places, Wrap, across_cloth
from training.synthetic.bodies.tiles import (
    TEXELS,
    TILE,
    blotch_tile,
    draped_tile,
    pulled_tile,
    stacked_tile,
    texels,
    weave_tile,
)

DARKENING = 0.07
BLEND = 0.06  # metres on either side of the body's middle where left and right folds mix
MIRROR_SHIFT = np.float32(101.0)  # texels; without it both sides would be mirror images
SHALLOW = 0.04  # folds that nobody sees
ROLL = 0.075  # height of a padded jacket's rolls, metres

# How much a cut's cloth folds, beside a thin tee.
SOFTNESS = {
    TopCut.TEE: 1.0,
    TopCut.TANK: 0.7,
    TopCut.SHIRT: 0.95,
    TopCut.JUMPER: 0.8,
    TopCut.HOODIE: 0.85,
    TopCut.JACKET: 0.7,
    TopCut.COAT: 0.5,
}


@dataclass(frozen=True, slots=True)
class Folds:
    """Folds at N points.

    Attributes:
        bump: (N, 3) what to add to unit normals, in axes of the neutral body.
        light: (N,) factor on the albedo, about 0.8..1.1.
    """

    bump: Float32s
    light: Float32s


def folds(at: Places, lie: Wrap, parts: Parts, person: Person) -> Folds:
    """Fold the cloth of a dressed person.

    Args:
        at: N points.
        lie: where they lie around their limb.
        parts: (N,) the part of each.
        person: cuts, thickness of cloth, depth of creases, seed.

    Returns:
        Bump and light; 0 and 1 on what is not cloth.
    """
    cloth = np.flatnonzero(_IS_CLOTH[parts])
    bump = np.zeros((len(parts), 3), np.float32)
    light = np.ones(len(parts), np.float32)
    if not len(cloth) or person.creases <= 0:
        return Folds(bump, light)
    here, lie = at.take(cloth), lie.take(cloth)
    relief = _relief(here, lie, parts[cloth], person)
    strength = np.float32(2.0 * person.creases)
    slopes = relief[:, 1:] * -strength
    bump[cloth] = across_cloth(here, lie, slopes[:, 0], slopes[:, 1])
    light[cloth] = np.clip(1.0 + DARKENING * strength * relief[:, 0], 0.7, 1.12)
    return Folds(bump, light)


def grain(across: Float32s, up: Float32s, seed: int) -> Float32s:
    """Look up the fine noise of a weave.

    Args:
        across: (N,) metres.
        up: (N,) metres.
        seed: shifts the noise.

    Returns:
        (N,) with mean 0 and deviation 1.
    """
    density = np.float32(TEXELS / TILE)
    return texels(weave_tile(), up * density, across * density, seed)


def blotches(at: Places, seed: int, scale: float) -> Float32s:
    """Look up smooth noise for prints and wear at N points.

    Args:
        at: the points.
        seed: shifts the noise.
        scale: tiles per 0.45 m; 1 gives blotches of about 4 cm.

    Returns:
        (N,) with mean 0 and deviation 1.
    """
    back = np.where(at.y > -0.02, np.float32(97.0), np.float32(0.0))
    density = np.float32(scale * TEXELS / TILE)
    return texels(blotch_tile(), (at.z + 0.3 * at.y) * density, at.x * density + back, seed)


def _relief(at: Places, lie: Wrap, parts: Parts, person: Person) -> Float32s:
    """Sum the folds of all directions: (N, 3) height and its slopes around and along.

    The trunk takes two tiles around and a limb one, so that there is no seam at the back.
    """
    pulled, stacked, draped = _amplitudes(at, lie, parts, person)
    shift = person.seed % 977
    limb = lie.leg | at.arm
    columns = lie.around * np.where(limb, np.float32(TEXELS), np.float32(2 * TEXELS))
    rows = lie.along * np.float32(TEXELS / TILE)
    relief = _pull(at.x, limb, rows, columns, shift)
    relief *= pulled[:, None]
    for depth, tile, offset in ((stacked, stacked_tile(), 131), (draped, draped_tile(), 57)):
        deep = np.flatnonzero(depth > SHALLOW)
        found = texels(tile, rows[deep], columns[deep], shift + offset)
        relief[deep] += depth[deep, None] * found
    if person.top.quilted:
        _quilt(relief, lie, parts)
    return relief


def _pull(x: Float32s, limb: Bools, rows: Float32s, columns: Float32s, shift: int) -> Float32s:
    """Look up diagonal folds, which rise to opposite sides on the left and right of the body."""
    left = x > 0
    relief = _mirrored(rows, columns, left, shift)
    middle = np.flatnonzero(~limb & (np.abs(x) < BLEND))
    other = _mirrored(rows[middle], columns[middle], ~left[middle], shift)
    share = (0.5 - (0.5 / BLEND) * np.abs(x[middle]))[:, None]
    relief[middle] += share * (other - relief[middle])
    return relief


def _mirrored(rows: Float32s, columns: Float32s, left: Bools, shift: int) -> Float32s:
    """Look up diagonal folds, turned around on the left."""
    sign = np.where(left, np.float32(-1.0), np.float32(1.0))
    moved = rows + np.where(left, MIRROR_SHIFT, np.float32(0.0))
    found = texels(pulled_tile(), moved, columns * sign, shift)
    found[:, 1] *= sign
    return found


def _amplitudes(
    at: Places, lie: Wrap, parts: Parts, person: Person
) -> tuple[Float32s, Float32s, Float32s]:
    """Find how deep diagonal, horizontal and vertical folds are at each point, (N,) each."""
    top = parts == Part.TOP
    soft = np.where(top, SOFTNESS[person.top.cut], _SOFT[parts]).astype(np.float32)
    pulled, stacked = np.zeros(len(parts), np.float32), np.zeros(len(parts), np.float32)
    draped = np.zeros(len(parts), np.float32)
    trunk = np.flatnonzero(~at.arm & ~lie.leg)
    pulled[trunk], stacked[trunk] = _trunk_folds(at.x[trunk], at.z[trunk], person)
    arms = np.flatnonzero(at.arm)
    stacked[arms] = _sleeve_folds(at.along_arm[arms], person.top.sleeve)
    pulled[arms] = 0.35
    legs = np.flatnonzero(lie.leg)
    loose = np.clip(person.bottom.thickness / 0.012, 0.35, 1.4)
    stacked[legs] = loose * _leg_folds(at.along_leg[legs], person.bottom.leg)
    pulled[legs] = loose * (0.25 + 0.5 * _near(at.z[legs], -0.12, 0.1))
    hanging = np.flatnonzero((at.piece > 0.5) & (at.piece < 1.5))
    pulled[hanging], stacked[hanging] = 0.15, 0.0
    draped[hanging] = 0.35 + np.clip(-at.z[hanging], 0.0, 0.5)
    if person.bottom.cut is BottomCut.DRESS:
        draped[trunk] = np.maximum(draped[trunk], 0.3 * _below(at.z[trunk], 0.1))
    return pulled * soft, stacked * soft, draped * soft


def _trunk_folds(x: Float32s, z: Float32s, person: Person) -> tuple[Float32s, Float32s]:
    """Fold the trunk: diagonals from the armpits, a roll of cloth above the hem."""
    thin = 1.2 if person.top.thickness > 0.01 else 0.7
    waist = _near(z, person.top.hem + 0.12, 0.09)
    armpit = _near(z, 0.35, 0.09) * np.clip((np.abs(x) - 0.05) / 0.08, 0.0, 1.0)
    return 0.3 + 0.55 * thin * waist + 0.6 * armpit, 0.45 * thin * waist


def _sleeve_folds(along: Float32s, sleeve: float) -> Float32s:
    """Fold sleeves at the elbow and where they are pushed together above the cuff."""
    cuff = np.clip((along - sleeve + 0.5) / 0.5, 0.0, 1.0) if sleeve > 1.2 else 0.2
    return np.asarray(0.2 + 0.75 * _near(along, 1.0, 0.2) + 0.6 * cuff, np.float32)


def _leg_folds(along: Float32s, leg: float) -> Float32s:
    """Fold trouser legs at the knee and where they stand on the shoe."""
    ankle = np.clip((along - leg + 0.32) / 0.32, 0.0, 1.0) if leg > 1.8 else 0.1
    return np.asarray(0.15 + 0.6 * _near(along, 1.0, 0.14) + 0.95 * ankle, np.float32)


def _quilt(relief: Float32s, lie: Wrap, parts: Parts) -> None:
    """Turn the top into padded rolls with seams between them."""
    top = np.flatnonzero(parts == Part.TOP)
    phase = np.pi * (lie.along[top] / ROLL % 1.0)
    relief[top] *= 0.6
    relief[top, 0] += 2.5 * np.sin(phase) - 2.2
    relief[top, 2] += 0.7 * np.cos(phase)


def _near(value: Float32s, centre: float, width: float) -> Float32s:
    """Weigh closeness to a centre, 0..1."""
    weight: Float32s = np.exp(-(((value - centre) / width) ** 2))
    return weight


def _below(z: Float32s, height: float) -> Float32s:
    """Weigh how far points lie below a height, 0..1 within 15 cm."""
    weight: Float32s = np.clip((height - z) / 0.15, 0.0, 1.0)
    return weight


def _per_part(values: dict[Part, float]) -> Float32s:
    """Lay values out as a table, 0 for other parts."""
    table = np.zeros(max(Part) + 1, np.float32)
    for part, value in values.items():
        table[part] = value
    return table


_SOFT = _per_part(
    {
        Part.TOP: 1.0,
        Part.BOTTOM: 0.8,
        Part.INNER: 0.8,
        Part.SOCK: 0.25,
        Part.HAT: 0.3,
        Part.BAG: 0.35,
    }
)
_IS_CLOTH = _SOFT > 0
