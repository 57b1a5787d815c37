"""Things on a street: cars, benches, bins, lamps, signs, cabinets, stairs."""

from __future__ import annotations

import math

import numpy as np

from training.synthetic.bodies.street.canvas import Canvas
from training.synthetic.bodies.street.noise import Float32s, linear, pick
from training.synthetic.bodies.street.panes import SIGNS, poster, sign
from training.synthetic.bodies.street.scene import Scene
from training.synthetic.bodies.street.solids import (
    Paint,
    Part,
    box,
    join,
    panel,
    prism,
    tube,
    wheel,
)
from training.synthetic.bodies.street.surfaces import PLASTERS, STONES, WALL, Palette

CARS: Palette = (
    (225, 225, 225), (40, 40, 44), (120, 122, 126), (168, 170, 172), (130, 30, 32), (36, 60, 110),
    (60, 70, 64), (200, 190, 170), (90, 110, 140), (214, 180, 60),
)  # fmt: skip
METALS: Palette = (
    (70, 74, 78),
    (130, 134, 136),
    (48, 66, 56),
    (168, 170, 170),
    (90, 60, 50),
    (40, 42, 46),
)
RUBBER = (34, 34, 36)
GLASS = (52, 60, 68)
LIGHTS = (200, 60, 50)


def car(scene: Scene) -> Part:
    """A car or a van, 4 to 5 metres along x."""
    rng = scene.rng
    van = rng.random() < 0.2
    long, wide = rng.uniform(3.9, 4.7), rng.uniform(1.65, 1.85)
    high = rng.uniform(1.85, 2.2) if van else rng.uniform(1.4, 1.6)
    half, waist = long / 2, 0.58 * high
    colour = scene.plain(pick(rng, CARS))
    glass, dark = scene.plain(linear(GLASS)), scene.plain(linear(RUBBER))
    body = [(-half, 0.28), (half, 0.28), (half + 0.04, 0.5), (half - 0.06, waist - 0.12),
            (half - 1.1, waist), (-half + 0.15, waist), (-half - 0.03, waist - 0.15)]  # fmt: skip
    rear = -half + rng.uniform(0.1, 0.8) * (not van) + 0.06
    front = half - (0.75 if van else 1.15)
    cabin = [(rear, waist), (front, waist), (front - 0.6, high), (rear + 0.25, high)]
    roof = [(rear + 0.22, high - 0.05), (front - 0.57, high - 0.05), (front - 0.75, high + 0.03),
            (rear + 0.4, high + 0.03)]  # fmt: skip
    base = (0.0, 0.0, 0.0)
    parts = [
        prism(body, wide, base, colour),
        prism(cabin, wide * 0.88, base, colour if van and rng.random() < 0.5 else glass),
        prism(roof, wide * 0.86, base, colour),
        *_pillars(rear, front, waist, high, wide, colour),
    ]
    for x in (-half + 0.75, half - 0.8):
        parts += [wheel(0.31, wide + 0.04, (x, 0.0, 0.31), dark)]
        parts += [wheel(0.17, wide + 0.06, (x, 0.0, 0.31), scene.plain(linear((150, 150, 152))), 6)]
    for x, tint in ((half, (225, 225, 215)), (-half + 0.02, LIGHTS)):
        for y in (-0.38 * wide, 0.38 * wide):
            parts.append(box((0.12, 0.3, 0.14), (x, y, 0.62), scene.plain(linear(tint))))
    plate = scene.plain(linear((220, 220, 205)))
    parts += [box((0.12, 0.46, 0.1), (x, 0.0, 0.42), plate) for x in (half + 0.01, -half)]
    return join(parts)


def _pillars(
    rear: float, front: float, waist: float, high: float, wide: float, paint: Paint
) -> list[Part]:
    """The bars between a car's windows, as thin prisms just wider than the glass."""
    middle = (rear + front) / 2 - 0.15
    bars = []
    for low, top in ((rear + 0.05, rear + 0.3), (middle, middle), (front - 0.08, front - 0.66)):
        outline = [(low - 0.05, waist), (low + 0.05, waist), (top + 0.04, high), (top - 0.04, high)]
        bars.append(prism(outline, wide * 0.89, (0.0, 0.0, 0.0), paint))
    return bars


def bench(scene: Scene) -> Part:
    """A bench along x, its back at y > 0."""
    rng = scene.rng
    long = rng.uniform(1.3, 2.0)
    seat = (
        scene.wood(rng.uniform(0.7, 1.4)) if rng.random() < 0.7 else scene.plain(pick(rng, METALS))
    )
    legs = scene.plain(pick(rng, METALS + STONES))
    parts = [box((long, 0.13, 0.05), (0.0, y, 0.42), seat) for y in (-0.16, 0.0, 0.16)]
    parts += [box((0.08, 0.42, 0.42), (x, 0.0, 0.0), legs) for x in (-0.4 * long, 0.4 * long)]
    if rng.random() < 0.6:
        parts += [box((long, 0.04, 0.13), (0.0, 0.26, z), seat) for z in (0.55, 0.72)]
    return join(parts)


def bin_(scene: Scene) -> Part:
    """A litter bin, round or with a lid, or a large one with wheels."""
    rng = scene.rng
    colour = scene.plain(pick(rng, (*METALS, (60, 96, 66), (52, 70, 110), (160, 120, 50))))
    dark = scene.plain(linear(RUBBER))
    if rng.random() < 0.5:
        base, top = (0.0, 0.0, 0.0), (0.0, 0.0, 0.8)
        return join(
            [tube([base, top], 0.23, colour, 10), tube([(0, 0, 0.78), (0, 0, 0.9)], 0.25, dark, 10)]
        )
    size = (0.55, 0.6, 0.95) if rng.random() < 0.6 else (1.3, 0.9, 1.15)
    lid = box(
        (size[0] + 0.06, size[1] + 0.06, 0.08), (0.0, 0.0, size[2]), scene.plain(pick(rng, SIGNS))
    )
    return join([box(size, (0.0, 0.0, 0.06), colour, 1.08), lid])


def lamp_post(scene: Scene) -> Part:
    """A lamp post; its head hangs over -y."""
    rng = scene.rng
    paint = scene.plain(pick(rng, METALS))
    high = rng.uniform(3.5, 6.0)
    pole = tube([(0, 0, 0), (0, 0, 1.0), (0, 0, high)], rng.uniform(0.045, 0.08), paint, 7)
    foot = tube([(0, 0, 0), (0, 0, 0.9)], 0.11, paint, 7)
    arm = tube([(0, 0, high), (0, -0.5, high + 0.12), (0, -1.0, high + 0.1)], 0.04, paint)
    head = box((0.22, 0.6, 0.12), (0.0, -1.1, high + 0.05), scene.plain(linear((190, 190, 185))))
    return join([pole, foot, arm, head])


def bollard(scene: Scene) -> Part:
    """A short post."""
    rng = scene.rng
    paint = scene.plain(pick(rng, METALS + STONES))
    high, thick = rng.uniform(0.6, 1.1), rng.uniform(0.04, 0.12)
    post = tube([(0, 0, 0), (0, 0, high)], thick, paint, 7)
    cap = tube(
        [(0, 0, high - 0.15), (0, 0, high - 0.05)], thick * 1.1, scene.plain(pick(rng, SIGNS)), 7
    )
    return join([post, cap, box((1.6 * thick,) * 2 + (0.03,), (0, 0, high), paint)])


def traffic_sign(scene: Scene) -> Part:
    """A sign on a pole: a disc, a square or a street name, facing -y."""
    rng = scene.rng
    pole = tube([(0, 0, 0), (0, 0, 2.6)], 0.035, scene.plain(linear((140, 142, 144))))
    colour, white = scene.plain(pick(rng, SIGNS)), scene.plain(linear((225, 225, 220)))
    if rng.random() < 0.6:
        disc = wheel(0.32, 0.03, (0, 0, 0), colour, 12).moved(0, -0.05, 2.25)
        inner = wheel(0.22, 0.03, (0, 0, 0), white, 12).moved(0, -0.06, 2.25)
        return join([pole, disc, inner])
    size = (rng.uniform(0.5, 0.9), 0.03, rng.uniform(0.2, 0.7))
    return join([pole, box(size, (0.0, -0.05, 2.0), colour)])


def board(scene: Scene) -> Part:
    """A sandwich board, or a lit case with a poster, or a kiosk map; faces -y and y."""
    rng = scene.rng
    wide, high, low = (0.65, 1.0, 0.02) if rng.random() < 0.5 else (1.2, 1.8, 0.35)
    frame = scene.plain(pick(rng, METALS))
    body = box((wide + 0.12, 0.16, high + low + 0.08), (0.0, 0.0, 0.0), frame)
    fronts = []
    for side in (-1.0, 1.0):
        image = np.zeros((round(high * WALL), round(wide * WALL), 3), np.float32)
        canvas = Canvas(image, WALL)
        draw = sign if rng.random() < 0.1 else poster
        draw(canvas, rng, canvas.whole)
        paint = Paint(scene.picture(image), np.ones(3, np.float32))
        corner = (side * wide / 2, side * 0.085, low)
        fronts.append(panel(corner, (-side * wide, 0.0, 0.0), (0.0, 0.0, high), paint))
    return join([body, *fronts])


def cabinet(scene: Scene) -> Part:
    """A grey or green box for electricity or parcels."""
    rng = scene.rng
    size = (rng.uniform(0.5, 1.8), rng.uniform(0.3, 0.5), rng.uniform(0.8, 1.5))
    colour = pick(rng, ((150, 152, 150), (96, 110, 96), (176, 170, 156), (120, 122, 126)))
    doors = [
        box(
            (0.015, 0.01, size[2] - 0.15),
            (x * size[0], -size[1] / 2, 0.08),
            scene.plain(0.4 * colour),
        )
        for x in (-0.2, 0.05, 0.3)
    ]
    return join([box(size, (0.0, 0.0, 0.0), scene.plain(colour)), *doors])


def stairs(scene: Scene, width: float) -> Part:
    """Some steps up to y > 0, with cheeks."""
    rng = scene.rng
    count = int(rng.integers(3, 7))
    colour = pick(rng, STONES)
    parts = []
    for step in range(count):
        depth = 0.32 * (count - step) + 0.8
        shade = scene.plain(colour * (0.92 + 0.08 * (step % 2)))
        back = 0.32 * count + 0.8
        parts.append(box((width, depth, 0.17), (0.0, back - depth / 2, 0.17 * step), shade))
    return join(parts)


def table(scene: Scene) -> Part:
    """A café table with chairs, perhaps under a parasol."""
    rng = scene.rng
    metal, top = scene.plain(pick(rng, METALS)), scene.plain(pick(rng, PLASTERS + METALS))
    parts = [
        tube([(0, 0, 0), (0, 0, 0.72)], 0.03, metal),
        tube([(0, 0, 0.7), (0, 0, 0.73)], 0.38, top, 12),
    ]
    parts.append(box((0.7, 0.7, 0.02), (0.0, 0.0, 0.73), top))
    chair = scene.plain(pick(rng, SIGNS + METALS))
    for turn in rng.uniform(0.0, 0.6) + np.arange(int(rng.integers(2, 5))) * math.pi / 2:
        parts += [
            piece.moved(0.75 * math.cos(turn), 0.75 * math.sin(turn), 0.0, turn)
            for piece in _chair(chair)
        ]
    if rng.random() < 0.35:
        cloth = scene.plain(pick(rng, SIGNS))
        parts.append(tube([(0, 0, 0), (0, 0, 2.5)], 0.025, metal))
        parts.append(box((2.2, 2.2, 0.45), (0.0, 0.0, 2.1), cloth, 0.05))
    return join(parts)


def _chair(paint: Paint) -> list[Part]:
    legs = [
        box((0.03, 0.03, 0.45), (x, y, 0.0), paint) for x in (-0.18, 0.18) for y in (-0.18, 0.18)
    ]
    return [
        box((0.42, 0.42, 0.04), (0.0, 0.0, 0.44), paint),
        box((0.04, 0.4, 0.4), (0.2, 0.0, 0.5), paint),
        *legs,
    ]


def awning(scene: Scene, width: float, colour: Float32s) -> Part:
    """A slanting cloth over a shop window at y = 0, out to y < 0, with a striped edge."""
    out, high = scene.rng.uniform(0.7, 1.4), scene.rng.uniform(2.5, 2.8)
    cloth = scene.plain(colour)
    roof = panel((-width / 2, -out, high), (width, 0.0, 0.0), (0.0, out, 0.7), cloth)
    edge = panel(
        (-width / 2, -out, high - 0.2),
        (width, 0.0, 0.0),
        (0.0, 0.0, 0.2),
        scene.plain(0.8 * colour),
    )
    return join([roof, edge])
