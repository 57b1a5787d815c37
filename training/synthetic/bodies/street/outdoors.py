"""Streets, squares, parks, car parks and yards: what goes where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.synthetic.bodies.street.cycles import bicycle, bicycle_stand, railing
from training.synthetic.bodies.street.fronts import fill_row
from training.synthetic.bodies.street.greenery import bush, hedge, planter, tree
from training.synthetic.bodies.street.scene import LARGEST, VIEW, Row, Scene
from training.synthetic.bodies.street.things import (
    bench,
    bin_,
    board,
    bollard,
    cabinet,
    car,
    lamp_post,
    table,
    traffic_sign,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.synthetic.bodies.street.solids import Part

SMALL: dict[str, Callable[[Scene], Part]] = {
    "bench": bench,
    "bicycle": bicycle,
    "bin": bin_,
    "board": board,
    "bollard": bollard,
    "bush": bush,
    "cabinet": cabinet,
    "car": car,
    "lamp": lamp_post,
    "planter": planter,
    "sign": traffic_sign,
    "stand": bicycle_stand,
    "table": table,
    "tree": tree,
    "railing": lambda scene: railing(scene, scene.rng.uniform(1.5, 4.0)),
    "hedge": lambda scene: hedge(scene, scene.rng.uniform(1.0, 3.0)),
}


@dataclass(frozen=True, slots=True)
class Character:
    """What kind of place a street is.

    Attributes:
        rows: what its sides may be closed off with.
        before: what stands in lines before them.
        scattered: what stands in the open.
    """

    rows: tuple[str, ...]
    before: tuple[str, ...]
    scattered: tuple[str, ...]


CHARACTERS = {
    "street": Character(
        ("shop", "shop", "house", "house", "wall"),
        ("car", "car", "bicycle", "tree", "lamp", "bollard", "railing", "stand"),
        ("bin", "lamp", "sign", "bicycle", "bollard", "cabinet", "board", "car", "railing"),
    ),
    "square": Character(
        ("shop", "house", "house", "trees", "hall"),
        ("table", "bench", "planter", "bicycle", "tree", "hedge", "board"),
        ("bench", "planter", "table", "lamp", "bin", "board", "bicycle", "tree"),
    ),
    "campus": Character(
        ("house", "house", "wall", "hedge", "trees", "trees"),
        ("bicycle", "bicycle", "hedge", "tree", "bench", "railing", "bush"),
        ("bicycle", "bench", "lamp", "bush", "tree", "bin", "sign", "bollard", "hedge"),
    ),
    "park": Character(
        ("trees", "trees", "hedge", "fence", "house"),
        ("bench", "bush", "tree", "hedge", "lamp"),
        ("bench", "tree", "bush", "bin", "lamp", "bicycle"),
    ),
    "yard": Character(
        ("wall", "wall", "fence", "house", "hedge"),
        ("car", "car", "bin", "cabinet", "railing", "bush"),
        ("car", "bin", "bollard", "cabinet", "sign", "bicycle", "railing"),
    ),
}


def furnish_outdoors(scene: Scene, character: str) -> None:
    """Close the sides off and put things before them and in the open.

    Args:
        scene: the street, with its ground.
        character: a key of :data:`CHARACTERS`.
    """
    chosen = CHARACTERS[character]
    for row in _sides(scene):
        kind = str(scene.rng.choice(chosen.rows))
        fill_row(scene, row, kind)
        if kind in {"fence", "hedge", "wall", "trees"} and scene.rng.random() < 0.75:
            # Behind what is low, something tall.
            behind = Row(*row.at(0.0, -scene.rng.uniform(3.0, 9.0)), row.length * 1.2)
            fill_row(scene, behind, str(scene.rng.choice(["house", "trees", "house"])))
        if scene.rng.random() < min(1.0, 0.85 * scene.variety):
            _line_up(scene, row, str(scene.rng.choice(chosen.before)))
    scatter(scene, chosen.scattered, int(scene.rng.integers(14, 34) * scene.variety))


def scatter(scene: Scene, kinds: tuple[str, ...], count: int) -> None:
    """Put small things anywhere in the open, but for its very middle."""
    rng = scene.rng
    for _ in range(count):
        if scene.face_count > LARGEST:
            return
        kind = str(rng.choice(kinds))
        turn = float(rng.choice([0.0, 0.5, 1.0, 1.5]) * math.pi + rng.normal(0.0, 0.1))
        scene.put(kind, SMALL[kind](scene), *scene.random_spot(), turn)


def _sides(scene: Scene) -> list[Row]:
    """The far side, and the left and right ones, which do not reach the cameras."""
    rng = scene.rng
    back, left, right = (max(5.5, scene.open_radius * rng.uniform(1.0, 1.5)) for _ in range(3))
    rows = [Row(back, (left - right) / 2, -math.pi / 2, left + right + 6.0)]
    if rng.random() < 0.8:
        rows.append(side_row(back, left, rng.uniform(0.0, 1.0)))
    if rng.random() < 0.8:
        rows.append(side_row(back, -right, rng.uniform(0.0, 1.0)))
    return rows


def side_row(back: float, aside: float, share: float) -> Row:
    """Return a row along the view, from the far side towards the cameras.

    Args:
        back: where the far side is, metres ahead.
        aside: where the row is, metres; positive to the left.
        share: how far it comes towards the cameras, of the most that does not hide the people.

    Returns:
        The row.
    """
    reach = back + share * max(0.0, abs(aside) / math.tan(VIEW) - 1.5)
    return Row(back - reach / 2, aside, 0.0 if aside > 0.0 else math.pi, reach)


def _line_up(scene: Scene, row: Row, kind: str) -> None:
    """Stand things in a line before a row."""
    rng = scene.rng
    before = rng.uniform(0.8, 2.8)
    if kind in {"hedge", "railing"}:
        length = row.length * rng.uniform(0.3, 0.8)
        make = hedge if kind == "hedge" else railing
        scene.put(kind, make(scene, min(length, 9.0)), *row.at(rng.uniform(-3.0, 3.0), before))
        return
    step = {"car": 5.4, "bicycle": 0.8, "tree": 5.0, "lamp": 12.0, "bollard": 1.6}.get(kind, 3.4)
    across = kind == "bicycle"
    start, end = np.sort(rng.uniform(-row.length / 2, row.length / 2, 2))
    for along in np.arange(start, max(end, start + 2 * step), step * rng.uniform(0.9, 1.3)):
        if scene.face_count > LARGEST - 500:
            return
        ahead, aside, angle = row.at(float(along), before)
        turn = angle + rng.normal(0.0, 0.05) + (math.pi / 2 - 0.3) * across
        scene.put(kind, SMALL[kind](scene), ahead, aside, turn)
