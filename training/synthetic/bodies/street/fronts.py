"""Long rows that close a street off: houses, halls, walls, hedges, fences, trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.synthetic.bodies.street.cycles import fence
from training.synthetic.bodies.street.facade import (
    glass_front,
    house_front,
    inner_wall,
    plain_front,
)
from training.synthetic.bodies.street.greenery import bush, hedge, tree
from training.synthetic.bodies.street.noise import linear, pick
from training.synthetic.bodies.street.panes import SIGNS
from training.synthetic.bodies.street.scene import LARGEST
from training.synthetic.bodies.street.solids import Paint, Part, box, join, panel
from training.synthetic.bodies.street.surfaces import PLASTERS, STONES
from training.synthetic.bodies.street.things import awning, stairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.synthetic.bodies.street.noise import Float32s
    from training.synthetic.bodies.street.scene import Row, Scene

DEPTH = 5.0
WHITE = np.ones(3, np.float32)


def house(scene: Scene, width: float, *, shop: bool) -> Part:
    """A house along x, its front at y = 0: pictured front, sides, balconies or awnings, steps."""
    rng = scene.rng
    high = rng.uniform(5.5, 10.5)
    if not shop and rng.random() < 0.25:
        image = glass_front(rng, width, high)
    else:
        image = house_front(rng, width, high, shop=shop)
    parts = [_front(scene, image, width, high), _body(scene, width, high)]
    if shop and rng.random() < 0.45:
        parts.append(awning(scene, width * rng.uniform(0.3, 0.9), pick(rng, SIGNS)))
    if not shop and rng.random() < 0.3:
        parts += _balconies(scene, width, high)
    if not shop and rng.random() < 0.2:
        steps = stairs(scene, 2.5)
        parts.append(steps.moved(0.0, -float(steps.vertices[:, 1].max())))
    return join(parts)


def plain_wall(scene: Scene, width: float) -> Part:
    """A wall without windows, low or high, with a coping."""
    rng = scene.rng
    high = rng.uniform(1.6, 4.5)
    image = plain_front(rng, width, high)
    coping = box((width, 0.35, 0.12), (0.0, 0.1, high), scene.plain(pick(rng, STONES)))
    return join([_front(scene, image, width, high), coping])


def hall_wall(scene: Scene, width: float) -> Part:
    """A wall of a hall or corridor: painted, of glass, or with shops."""
    rng = scene.rng
    high = rng.uniform(3.6, 5.5)
    kind = rng.random()
    if kind < 0.45:
        image = inner_wall(rng, width, high)
    elif kind < 0.8:
        image = house_front(rng, width, high, shop=True)
    else:
        image = glass_front(rng, width, high)
    return _front(scene, image, width, high)


def fill_row(scene: Scene, row: Row, kind: str) -> None:
    """Stand one kind of front along a row, piece by piece.

    Args:
        scene: the street.
        row: where.
        kind: house, shop, wall, hall, hedge, fence or trees.
    """
    rng = scene.rng
    along = -row.length / 2
    while along < row.length / 2 - 0.5:
        if kind in {"trees", "fence"} and scene.face_count > LARGEST:
            return
        width = float(min(rng.uniform(*WIDTHS[kind]), row.length / 2 - along))
        part = MAKERS[kind](scene, width)
        jitter = rng.uniform(-0.8, 0.8) if kind == "trees" else 0.0
        scene.put(kind, part, *row.at(along + width / 2, jitter))
        along += width
        if kind == "house" and rng.random() < 0.2:
            along += rng.uniform(1.0, 4.0)


def _front(scene: Scene, image: Float32s, width: float, high: float) -> Part:
    paint = Paint(scene.picture(image), WHITE)
    return panel((-width / 2, 0.0, 0.0), (width, 0.0, 0.0), (0.0, 0.0, high), paint)


def _body(scene: Scene, width: float, high: float) -> Part:
    """The rest of a house behind its front, a little narrower so that the front is seen."""
    paint = scene.plain(pick(scene.rng, PLASTERS) * 0.8)
    roof = scene.plain(linear((96, 84, 80)))
    body = box((width, DEPTH - 0.02, high), (0.0, DEPTH / 2 + 0.02, 0.0), paint)
    eaves = box((width + 0.3, 0.6, 0.18), (0.0, 0.0, high), roof)
    return join([body, eaves])


def _balconies(scene: Scene, width: float, high: float) -> list[Part]:
    rng = scene.rng
    paint = scene.plain(pick(rng, PLASTERS + STONES))
    count = max(1, int(width / 4.0))
    levels = np.arange(3.4, high - 1.5, 3.1)
    return [
        box((1.9, 0.9, 1.0), (width * ((k + 0.5) / count - 0.5), -0.45, float(z)), paint)
        for k in range(count)
        for z in levels
    ]


def _trees(scene: Scene, _: float) -> Part:
    """A tree, or a bush between trees."""
    return tree(scene) if scene.rng.random() < 0.6 else bush(scene)


MAKERS: dict[str, Callable[[Scene, float], Part]] = {
    "house": lambda scene, width: house(scene, width, shop=False),
    "shop": lambda scene, width: house(scene, width, shop=True),
    "wall": plain_wall,
    "hall": hall_wall,
    "hedge": hedge,
    "fence": fence,
    "trees": _trees,
}
WIDTHS = {
    "house": (6.0, 11.0),
    "shop": (6.0, 11.0),
    "wall": (6.0, 12.0),
    "hall": (9.0, 15.0),
    "hedge": (3.0, 8.0),
    "fence": (4.0, 8.0),
    "trees": (2.2, 5.0),
}
