"""Halls: stations, malls, corridors, offices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from training.synthetic.bodies.street.cycles import railing
from training.synthetic.bodies.street.fronts import fill_row
from training.synthetic.bodies.street.greenery import planter, trunk_green
from training.synthetic.bodies.street.noise import linear, pick
from training.synthetic.bodies.street.outdoors import SMALL, side_row
from training.synthetic.bodies.street.panes import GOODS, SIGNS
from training.synthetic.bodies.street.scene import LARGEST, Row, Scene
from training.synthetic.bodies.street.solids import Part, box, join
from training.synthetic.bodies.street.surfaces import FLOORS, PLASTERS
from training.synthetic.bodies.street.things import METALS, bench, bin_, board, table

if TYPE_CHECKING:
    from collections.abc import Callable


def furnish_hall(scene: Scene) -> None:
    """Put walls around three sides, pillars in rows, and things between."""
    rng = scene.rng
    back = scene.open_radius * rng.uniform(0.9, 1.3)
    left, right = np.maximum(6.0, scene.open_radius * rng.uniform(0.9, 1.3, 2))
    fill_row(scene, Row(back, (left - right) / 2, -math.pi / 2, left + right), "hall")
    fill_row(scene, side_row(back, left, 1.0), "hall")
    fill_row(scene, side_row(back, -right, 1.0), "hall")
    if rng.random() < 0.6:
        _pillars(scene)
    for _ in range(int(rng.integers(8, 22) * scene.variety)):
        if scene.face_count > LARGEST:
            return
        kind = str(rng.choice(list(INSIDE)))
        turn = float(rng.integers(4) * math.pi / 2)
        scene.put(kind, INSIDE[kind](scene), *scene.random_spot(), turn)


def shelf(scene: Scene) -> Part:
    """A shop's shelf, full of goods, open to -y."""
    rng = scene.rng
    wide, high, deep = rng.uniform(1.2, 2.6), rng.uniform(1.2, 2.1), 0.4
    frame = scene.plain(pick(rng, METALS + PLASTERS))
    parts = [box((wide, 0.04, high), (0.0, deep / 2, 0.0), frame)]
    parts += [box((0.04, deep, high), (x, 0.0, 0.0), frame) for x in (-wide / 2, wide / 2)]
    for level in np.arange(0.08, high - 0.2, 0.42):
        parts.append(box((wide, deep, 0.03), (0.0, 0.0, float(level)), frame))
        for x in np.arange(-wide / 2 + 0.16, wide / 2 - 0.1, 0.3):
            size = (rng.uniform(0.12, 0.28), 0.28, rng.uniform(0.12, 0.36))
            goods = scene.plain(pick(rng, GOODS, 0.15))
            parts.append(box(size, (float(x), 0.0, float(level) + 0.03), goods))
    return join(parts)


def counter(scene: Scene) -> Part:
    """A counter or a ticket machine's block, with a screen."""
    rng = scene.rng
    size = (rng.uniform(0.7, 2.4), rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.7))
    front = scene.wood() if rng.random() < 0.3 else scene.plain(pick(rng, SIGNS + PLASTERS))
    screen = box(
        (0.4, 0.03, 0.3), (0.0, -size[1] / 2, size[2] - 0.45), scene.plain(linear((70, 110, 160)))
    )
    top = box(
        (size[0] + 0.06, size[1] + 0.06, 0.05), (0, 0, size[2]), scene.plain(pick(rng, FLOORS))
    )
    return join([box(size, (0.0, 0.0, 0.0), front), screen, top])


def gate(scene: Scene) -> Part:
    """A row of ticket gates."""
    metal, dark = scene.plain(linear((170, 172, 174))), scene.plain(linear((40, 44, 50)))
    parts = []
    for x in np.arange(int(scene.rng.integers(2, 6))) * 0.85:
        parts.append(box((0.22, 1.4, 0.95), (float(x), 0.0, 0.0), metal))
        parts.append(box((0.24, 1.2, 0.06), (float(x), 0.0, 0.95), dark))
    return join(parts)


def seats(scene: Scene) -> Part:
    """A row of waiting-room seats."""
    rng = scene.rng
    colour, metal = scene.plain(pick(rng, SIGNS + METALS)), scene.plain(linear((140, 142, 144)))
    count = int(rng.integers(3, 6))
    parts = [box((0.58 * count, 0.06, 0.06), (0.29 * (count - 1), 0.05, 0.36), metal)]
    for x in np.arange(count) * 0.58:
        parts.append(box((0.48, 0.45, 0.05), (float(x), 0.0, 0.42), colour))
        parts.append(box((0.48, 0.06, 0.45), (float(x), 0.22, 0.48), colour))
    parts += [box((0.05, 0.4, 0.4), (x, 0.0, 0.0), metal) for x in (0.0, 0.58 * (count - 1))]
    return join(parts)


def _barrier(scene: Scene) -> Part:
    return railing(scene, scene.rng.uniform(2.0, 5.0))


INSIDE: dict[str, Callable[[Scene], Part]] = {
    "bench": bench,
    "bin": bin_,
    "board": board,
    "counter": counter,
    "gate": gate,
    "planter": planter,
    "plant": trunk_green,
    "railing": _barrier,
    "seats": seats,
    "shelf": shelf,
    "table": table,
    "bollard": SMALL["bollard"],
}


def _pillars(scene: Scene) -> None:
    """Pillars on a grid around the middle."""
    rng = scene.rng
    step, wide = rng.uniform(4.0, 7.0), rng.uniform(0.35, 0.8)
    paint = scene.plain(pick(rng, PLASTERS + FLOORS))
    base = scene.plain(pick(rng, FLOORS))
    for ahead in np.arange(-0.5, 2.0) * step:
        for aside in np.array([-1.5, -0.5, 0.5, 1.5]) * step:
            column = box((wide, wide, 5.0), (0.0, 0.0, 0.0), paint)
            foot = box((wide + 0.06, wide + 0.06, 0.2), (0.0, 0.0, 0.0), base)
            scene.put("pillar", join([column, foot]), float(ahead), float(aside))
