"""The fronts of houses and of rooms: storeys, windows, doors, shop fronts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.canvas import Canvas, Rect
from training.synthetic.bodies.street.noise import clouds, linear, pick
from training.synthetic.bodies.street.panes import (
    FRAMES,
    SIGNS,
    door,
    glass,
    poster,
    shop_window,
    sign,
    window,
)
from training.synthetic.bodies.street.surfaces import STONES, WALL, wall

Float32s = NDArray[np.float32]

STOREY = 3.1
SHOP_FRONT = 3.4


@dataclass(frozen=True, slots=True)
class Bay:
    """How the windows of a house repeat: the width of a bay, and of the window in it, metres."""

    width: float
    window: float
    sill: float
    top: float


def house_front(rng: np.random.Generator, width: float, height: float, *, shop: bool) -> Float32s:
    """Draw the front of a house.

    Args:
        rng: source of randomness.
        width: metres.
        height: metres.
        shop: a shop on the ground floor instead of windows and a door.

    Returns:
        (rows, columns, 3) float32 linear reflectance, 32 texels a metre.
    """
    canvas = _blank(rng, width, height)
    bay = Bay(
        rng.uniform(1.6, 3.6), rng.uniform(0.45, 0.8), rng.uniform(0.5, 1.1), rng.uniform(2.2, 2.7)
    )
    frame = pick(rng, FRAMES)
    ground = SHOP_FRONT if shop else STOREY
    if shop:
        shop_front(canvas, rng, Rect(0.0, 0.0, width, ground))
    else:
        _ground_floor(canvas, rng, bay, frame)
    base = ground
    while base + bay.top < height:
        if rng.random() < 0.8:
            canvas.shade(Rect(0.0, base - 0.12, width, base + 0.05), rng.uniform(0.7, 1.25))
        _storey(canvas, rng, bay, base, frame)
        base += STOREY
    return canvas.image


def glass_front(rng: np.random.Generator, width: float, height: float) -> Float32s:
    """Draw a front of glass panels between metal bars, as offices and halls have."""
    canvas = _blank(rng, width, height)
    frame = linear((rng.uniform(60, 190),) * 3)
    canvas.fill(canvas.whole, frame)
    across, up = rng.uniform(0.9, 2.4), rng.uniform(1.2, 3.1)
    band = rng.random() < 0.5
    for row in range(int(height / up) + 1):
        for column in range(int(width / across) + 1):
            left, base = column * across, row * up
            pane = Rect(left, base, min(left + across, width), min(base + up, height))
            glass(canvas, rng, pane.inset(0.035))
        if band:
            canvas.fill(Rect(0.0, row * up, width, row * up + 0.45), frame * 1.2)
    return canvas.image


def shop_front(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw shops side by side: windows, doors, signs."""
    left = rect.left
    while left < rect.right - 1.5:
        right = min(left + rng.uniform(3.0, 7.5), rect.right)
        _shop(canvas, rng, Rect(left, rect.bottom, right, rect.top))
        left = right


def plain_front(rng: np.random.Generator, width: float, height: float) -> Float32s:
    """Draw a wall with few things on it: a door, a vent, a pipe, graffiti, posters."""
    canvas = _blank(rng, width, height)
    if rng.random() < 0.6:
        _details(canvas, rng)
    if rng.random() < 0.35:
        _graffiti(canvas, rng)
    if rng.random() < 0.4:
        left = rng.uniform(0.0, max(0.1, width - 3.0))
        for number in range(int(rng.integers(1, 4))):
            x = left + 1.0 * number
            poster(canvas, rng, Rect(x, 0.9, x + 0.8, 2.1))
    return canvas.image


def inner_wall(rng: np.random.Generator, width: float, height: float) -> Float32s:
    """Draw a wall indoors: pale, with a skirting, doors, posters, notice boards, a rail."""
    canvas = _blank(rng, width, height)
    canvas.image[:] = (
        pick(rng, INNER_WALLS)
        * np.exp(0.02 * clouds(rng, (canvas.image.shape[0], canvas.image.shape[1]), 1.4))[
            :, :, None
        ]
    )
    lower = rng.uniform(0.9, 2.2)
    if rng.random() < 0.5:
        canvas.fill(Rect(0.0, 0.0, width, lower), pick(rng, INNER_WALLS + STONES))
    if rng.random() < 0.3:
        canvas.fill(Rect(0.0, lower, width, lower + rng.uniform(0.1, 0.3)), pick(rng, SIGNS))
    canvas.shade(Rect(0.0, 0.0, width, 0.12), 0.45)
    _hang(canvas, rng, width)
    return canvas.image


INNER_WALLS = (
    (226, 224, 216), (212, 206, 190), (196, 204, 208), (226, 214, 186), (180, 178, 172),
    (208, 190, 170), (150, 160, 170),
)  # fmt: skip


def _hang(canvas: Canvas, rng: np.random.Generator, width: float) -> None:
    """Draw what is on a wall indoors from left to right."""
    x = rng.uniform(0.2, 2.0)
    while x < width - 1.5:
        match int(rng.integers(5)):
            case 0:
                door(canvas, rng, Rect(x, 0.0, x + rng.choice([0.95, 1.7]), 2.1))
            case 1:
                poster(canvas, rng, Rect(x, 0.8, x + 1.1, 2.4))
            case 2:
                sign(canvas, rng, Rect(x, 2.3, x + 1.8, 2.7))
            case 3:
                shop_window(canvas, rng, Rect(x, 0.7, x + 2.4, 2.3), pick(rng, FRAMES))
            case _:
                pass
        x += rng.uniform(2.0, 4.5)


def _blank(rng: np.random.Generator, width: float, height: float) -> Canvas:
    size = (max(8, round(height * WALL)), max(8, round(width * WALL)))
    return Canvas(wall(rng, size).copy(), WALL)


def _shop(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    pier = 0.25
    frame = pick(rng, FRAMES)
    board = rect.top - rng.uniform(0.5, 0.9)
    sill = rng.uniform(0.1, 0.6)
    if rng.random() < 0.12:
        _shutter(canvas, rng, Rect(rect.left + pier, 0.0, rect.right - pier, board))
    else:
        shop_window(canvas, rng, Rect(rect.left + pier, sill, rect.right - pier, board), frame)
        x = rng.uniform(rect.left + pier, max(rect.left + pier, rect.right - 1.4))
        door(canvas, rng, Rect(x, 0.0, x + rng.choice([1.0, 1.6]), 2.3))
    sign(canvas, rng, Rect(rect.left + pier, board, rect.right - pier, rect.top - 0.1))


def _shutter(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw a shutter or garage door: thin stripes."""
    canvas.fill(rect, linear((rng.uniform(110, 180),) * 3))
    canvas.view(rect)[::4] *= 0.6


def _ground_floor(canvas: Canvas, rng: np.random.Generator, bay: Bay, frame: Float32s) -> None:
    width = canvas.whole.width
    if rng.random() < 0.5:
        canvas.fill(Rect(0.0, 0.0, width, rng.uniform(0.3, 0.9)), pick(rng, STONES))
    if rng.random() < 0.75:
        _storey(canvas, rng, bay, 0.3, frame)
    x = rng.uniform(0.3, max(0.4, width - 2.0))
    tall = rng.uniform(2.1, 2.7)
    canvas.fill(Rect(x - 0.4, 0.0, x + 1.8, tall + 0.3), pick(rng, STONES))
    door(canvas, rng, Rect(x, 0.0, x + rng.choice([1.0, 1.4]), tall))
    if rng.random() < 0.4:
        _shutter(canvas, rng, Rect(x + 3.0, 0.0, x + 5.5, 2.3))


def _storey(
    canvas: Canvas, rng: np.random.Generator, bay: Bay, base: float, frame: Float32s
) -> None:
    """Draw a row of windows."""
    width = canvas.whole.width
    count = max(1, int(width / bay.width))
    for number in range(count):
        middle = width * (number + 0.5) / count
        half = bay.width * bay.window / 2.0
        window(
            canvas, rng, Rect(middle - half, base + bay.sill, middle + half, base + bay.top), frame
        )


def _details(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a door, a pipe and a vent or cabinet."""
    whole = canvas.whole
    x = rng.uniform(0.05, 0.8) * whole.width
    door(canvas, rng, Rect(x, 0.0, x + 1.0, 2.1))
    pipe = rng.random() * whole.width
    canvas.fill(Rect(pipe, 0.0, pipe + 0.1, whole.height), linear((rng.uniform(90, 180),) * 3))
    vent = rng.random() * whole.width
    canvas.fill(Rect(vent, 0.4, vent + 0.7, 1.2), linear((rng.uniform(80, 170),) * 3))
    canvas.view(Rect(vent, 0.4, vent + 0.7, 1.2))[::3] *= 0.7


def _graffiti(canvas: Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x = rng.uniform(0.0, canvas.whole.width)
        low = rng.uniform(0.3, 1.2)
        size = rng.uniform(0.4, 1.2)
        canvas.write(rng, Rect(x, low, x + 3.0 * size, low + size), pick(rng, SIGNS, 0.2))
