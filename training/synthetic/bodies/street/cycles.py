"""Thin things: bicycles, stands, railings, fences."""

from __future__ import annotations

import math

import numpy as np

from training.synthetic.bodies.street.noise import linear, pick
from training.synthetic.bodies.street.scene import Scene
from training.synthetic.bodies.street.solids import Paint, Part, Point, box, join, tube
from training.synthetic.bodies.street.things import CARS, METALS, RUBBER


def bicycle(scene: Scene) -> Part:
    """A bicycle along x that leans a little."""
    rng = scene.rng
    frame, dark = scene.plain(pick(rng, CARS)), scene.plain(linear(RUBBER))
    parts = [_ring(x, 0.33, dark) for x in (-0.52, 0.52)]
    seat, crank, head = (-0.2, 0.0, 0.85), (-0.06, 0.0, 0.32), (0.36, 0.0, 0.82)
    rear, fork = (-0.52, 0.0, 0.33), (0.52, 0.0, 0.33)
    bars: list[tuple[Point, Point]] = [
        (rear, crank), (crank, seat), (crank, head), ((-0.17, 0.0, 0.75), head), (rear, seat),
        (head, fork),
    ]  # fmt: skip
    parts += [tube(bar, 0.021, frame, 4) for bar in bars]
    parts.append(tube([head, (0.32, 0.0, 1.0)], 0.018, dark, 4))
    parts.append(tube([(0.28, -0.28, 1.02), (0.32, 0.0, 1.0), (0.28, 0.28, 1.02)], 0.018, dark, 4))
    parts.append(box((0.27, 0.14, 0.06), (-0.22, 0.0, 0.88), dark))
    if rng.random() < 0.4:
        parts.append(box((0.3, 0.34, 0.24), (0.52, 0.0, 0.78), scene.wood(0.8), 1.15))
    if rng.random() < 0.5:
        parts.append(box((0.36, 0.13, 0.03), (-0.5, 0.0, 0.72), dark))
    return join(parts)


def _ring(x: float, radius: float, paint: Paint) -> Part:
    """A tyre."""
    angles = np.linspace(0.0, 2.0 * math.pi, 13)
    path = [(x + radius * math.cos(a), 0.0, radius + radius * math.sin(a)) for a in angles]
    return tube(path, 0.022, paint, 3)


def bicycle_stand(scene: Scene) -> Part:
    """A hoop of metal."""
    paint = scene.plain(pick(scene.rng, METALS))
    path = [
        (-0.35, 0.0, 0.0),
        (-0.35, 0.0, 0.7),
        (-0.2, 0.0, 0.8),
        (0.2, 0.0, 0.8),
        (0.35, 0.0, 0.7),
        (0.35, 0.0, 0.0),
    ]
    return tube(path, 0.025, paint)


def railing(scene: Scene, length: float) -> Part:
    """A railing along x: posts, and bars across or upright."""
    rng = scene.rng
    paint = scene.plain(pick(rng, METALS))
    high = rng.uniform(0.8, 1.2)
    posts = np.linspace(-length / 2, length / 2, max(2, round(length / 1.6)))
    parts = [box((0.05, 0.05, high), (float(x), 0.0, 0.0), paint) for x in posts]
    parts.append(box((length, 0.05, 0.05), (0.0, 0.0, high), paint))
    if rng.random() < 0.5:
        levels = np.linspace(0.2, high - 0.2, int(rng.integers(1, 4)))
        parts += [box((length, 0.03, 0.03), (0.0, 0.0, float(z)), paint) for z in levels]
    else:
        parts.append(box((length, 0.03, 0.03), (0.0, 0.0, 0.12), paint))
        upright = np.arange(-length / 2, length / 2, 0.16)
        parts += [_bar(float(x), 0.12, high, paint) for x in upright]
    return join(parts)


def fence(scene: Scene, length: float) -> Part:
    """A fence along x, of boards or of steel bars, taller than a railing."""
    rng = scene.rng
    high = rng.uniform(1.2, 2.2)
    if rng.random() < 0.4:
        boards = box((length, 0.05, high), (0.0, 0.0, 0.05), scene.wood(rng.uniform(0.6, 1.3)))
        posts = [
            box((0.1, 0.1, high + 0.1), (x, 0.0, 0.0), scene.wood(0.7)) for x in (-length / 2, 0.0)
        ]
        return join([boards, *posts])
    paint = scene.plain(pick(rng, METALS))
    step = rng.uniform(0.12, 0.2)
    bars = [_bar(float(x), 0.0, high, paint) for x in np.arange(-length / 2, length / 2, step)]
    rails = [box((length, 0.04, 0.04), (0.0, 0.0, z), paint) for z in (0.2, high - 0.15)]
    return join(bars + rails)


def _bar(x: float, low: float, high: float, paint: Paint) -> Part:
    """A thin upright bar: three sides."""
    return tube([(x, 0.0, low), (x, 0.0, high)], 0.014, paint, 3)
