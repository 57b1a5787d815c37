"""Inventing a ground: what it is made of, and the lanes, markings and patches on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.synthetic.bodies.street.ground import Ground, Zone
from training.synthetic.bodies.street.noise import clouds, linear, pick
from training.synthetic.bodies.street.solids import Paint, Part, panel
from training.synthetic.bodies.street.surfaces import (
    SIGNS_ON_GROUND,
    asphalt,
    carpet,
    cobbles,
    concrete,
    floor,
    grass,
    gravel,
    plain,
    slabs,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.synthetic.bodies.street.atlas import Texture
    from training.synthetic.bodies.street.noise import Float32s
    from training.synthetic.bodies.street.scene import Scene

    Drawing = Callable[[np.random.Generator], Float32s]

EXTENT = 250.0
ENDLESS = 1e3
WHITE = np.ones(3, np.float32)
BASES: dict[str, tuple[Drawing, ...]] = {
    "street": (asphalt, slabs, slabs, cobbles, concrete),
    "square": (slabs, slabs, cobbles, concrete),
    "campus": (slabs, asphalt, concrete, slabs, cobbles),
    "park": (gravel, asphalt, slabs, grass),
    "yard": (asphalt, concrete, cobbles),
    "hall": (floor, floor, floor, carpet, concrete),
}


def lay_ground(scene: Scene, character: str) -> Ground:
    """Invent the ground of a street and put it into the scene.

    Args:
        scene: the street.
        character: a key of :data:`BASES`.

    Returns:
        The ground.
    """
    rng = scene.rng
    drawing = BASES[character][int(rng.integers(len(BASES[character])))]
    base = scene.texture(drawing.__name__, drawing)
    scene.put_ground(_plane(base))
    strength = 0.04 if character == "hall" else rng.uniform(0.05, 0.16)
    return Ground(
        angle=scene.angle,
        turn=float(rng.choice([0.0, 0.0, np.pi / 4, rng.uniform(0.0, np.pi)])),
        base=base,
        zones=tuple(_zones(scene, character) if scene.variety > 0.0 else ()),
        stains=_stains(rng, strength, wet=character != "hall" and rng.random() < 0.25),
    )


def _plane(base: Texture) -> Part:
    side = 2.0 * EXTENT
    paint = Paint(base, WHITE)
    return panel((-EXTENT, -EXTENT, 0.0), (side, 0.0, 0.0), (0.0, side, 0.0), paint)


def _stains(rng: np.random.Generator, strength: float, *, wet: bool) -> Float32s:
    """Soft dirt, small spots of chewing gum and oil, sometimes damp patches."""
    soft = clouds(rng, (512, 512), 1.5)
    stains = np.exp(strength * soft)
    spots = clouds(rng, (512, 512), 0.6)
    stains[spots > 2.9] *= 0.7
    if wet:
        stains *= 1.0 - 0.4 * np.clip(4.0 * (soft - rng.uniform(0.8, 1.6)), 0.0, 1.0)
    return np.asarray(stains, np.float32)


def _zones(scene: Scene, character: str) -> list[Zone]:
    match character:
        case "street":
            return [*_road(scene), *_repairs(scene), *_covers(scene)]
        case "park":
            return [*_lawns(scene), *_covers(scene)]
        case "campus":
            return [*_lawns(scene), *_bands(scene), *_covers(scene)]
        case "yard":
            return [*_bays(scene), *_repairs(scene), *_covers(scene)]
        case "hall":
            return _bands(scene)
        case _:
            return [*_bands(scene), *_covers(scene)]


def _road(scene: Scene) -> list[Zone]:
    """A road along or across the view, with kerbs, a centre line, perhaps a crossing."""
    rng = scene.rng
    half = rng.uniform(2.5, 4.5)
    middle = rng.uniform(0.2, 1.0) * scene.open_radius * rng.choice([-1.0, 1.0])
    along = rng.random() < 0.5
    kerb = scene.texture("concrete", concrete)

    def strip(at: float, wide: float, texture: Texture, tint: Float32s, dash: float = 0.0) -> Zone:
        if along:
            return Zone((0.0, at), (ENDLESS, wide), texture, tint, (dash, 0.0))
        return Zone((at, 0.0), (wide, ENDLESS), texture, tint, (0.0, dash))

    white = linear((225, 222, 210)) * rng.uniform(0.5, 1.0)
    paint = scene.texture("plain", plain)
    zones = [
        strip(middle, half + 0.18, kerb, WHITE * rng.uniform(0.9, 1.5)),
        strip(middle, half, scene.texture("asphalt", asphalt), WHITE * rng.uniform(0.7, 1.1)),
        strip(middle + half - 0.25, 0.2, scene.texture("asphalt", asphalt), WHITE * 0.6),
    ]
    if rng.random() < 0.7:
        zones.append(strip(middle, 0.06, paint, white, rng.choice([0.0, 3.0, 6.0])))
    if rng.random() < 0.5:
        zones.append(strip(middle - half + 0.5, 0.06, paint, _line_colour(rng)))
    if rng.random() < 0.35:
        at = rng.uniform(-0.5, 0.5) * scene.open_radius
        spot, size = ((at, middle), (1.6, half)) if along else ((middle, at), (half, 1.6))
        zones.append(Zone(spot, size, paint, white, (0.0, 1.0) if along else (1.0, 0.0)))
    return zones


def _line_colour(rng: np.random.Generator) -> Float32s:
    return pick(rng, SIGNS_ON_GROUND)


def _repairs(scene: Scene) -> list[Zone]:
    """Darker and lighter patches of asphalt, trenches of pipes."""
    rng = scene.rng
    patch = scene.texture("asphalt", asphalt)
    zones = []
    for _ in range(int(rng.integers(0, 5))):
        middle = rng.uniform(-1.0, 1.0, 2) * scene.open_radius
        half = rng.uniform(0.3, 3.0), rng.uniform(0.2, 0.8)
        sized = half if rng.random() < 0.5 else half[::-1]
        zones.append(Zone((middle[0], middle[1]), sized, patch, WHITE * rng.uniform(0.6, 1.3)))
    return zones


def _covers(scene: Scene) -> list[Zone]:
    """Manhole covers with a rim, and square gratings."""
    rng = scene.rng
    paint = scene.texture("cobbles", cobbles)
    zones = []
    for _ in range(int(rng.integers(0, 4))):
        middle = rng.uniform(-1.0, 1.0, 2) * scene.open_radius
        at = (float(middle[0]), float(middle[1]))
        size = rng.uniform(0.25, 0.4)
        disc = bool(rng.random() < 0.6)
        zones.append(Zone(at, (size + 0.05,) * 2, paint, WHITE * 0.9, round=disc))
        zones.append(Zone(at, (size,) * 2, paint, WHITE * rng.uniform(0.25, 0.5), round=disc))
    return zones


def _lawns(scene: Scene) -> list[Zone]:
    """Grass beyond a path, edged with stone."""
    rng = scene.rng
    lawn, edge = scene.texture("grass", grass), scene.texture("concrete", concrete)
    zones = []
    for side in (-1.0, 1.0):
        if rng.random() < 0.7:
            at = side * (rng.uniform(1.5, 6.0) + 15.0)
            spots = (
                ((0.0, at), (ENDLESS, 15.0)) if rng.random() < 0.6 else ((at, 0.0), (15.0, ENDLESS))
            )
            wide = (spots[1][0] + 0.12, spots[1][1] + 0.12)
            zones.append(Zone(spots[0], wide, edge, WHITE * rng.uniform(0.6, 1.4)))
            zones.append(Zone(*spots, lawn, WHITE))
    return zones


def _bands(scene: Scene) -> list[Zone]:
    """Bands of another colour that repeat, guiding strips, a mat."""
    rng = scene.rng
    zones = []
    if rng.random() < 0.35:
        period = rng.uniform(2.0, 6.0)
        count = int(20.0 / period)
        tint = np.exp(rng.normal(-0.25, 0.25) + rng.normal(0.0, 0.08, 3)).astype(np.float32)
        half = rng.uniform(0.08, 0.35)
        zones += [
            Zone((0.0, number * period), (ENDLESS, half), None, tint)
            for number in range(-count, count + 1)
        ]
    if rng.random() < 0.25:
        aside = rng.uniform(-5.0, 5.0)
        line = scene.texture("plain", plain)
        zones.append(Zone((0.0, aside), (ENDLESS, 0.15), line, _line_colour(rng) * 0.7))
    if rng.random() < 0.2:
        middle = rng.uniform(-6.0, 6.0, 2)
        mat = scene.texture("carpet", carpet)
        at = (float(middle[0]), float(middle[1]))
        zones.append(Zone(at, (rng.uniform(0.6, 2.0), rng.uniform(0.8, 3.0)), mat, WHITE))
    return zones


def _bays(scene: Scene) -> list[Zone]:
    """Marked bays of a car park."""
    rng = scene.rng
    paint = scene.texture("plain", plain)
    colour = _line_colour(rng) * rng.uniform(0.6, 1.0)
    at = rng.uniform(-0.8, 0.8) * scene.open_radius
    lines = [Zone((at, 2.5 * number), (2.5, 0.05), paint, colour) for number in range(-6, 7)]
    return [*lines, Zone((at - 2.5, 0.0), (0.05, 15.0), paint, colour)]
