"""The street behind people: one textured wall and floor per camera."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.drawn.palette import RGB, tone

if TYPE_CHECKING:
    from numpy.typing import NDArray


WIDTHS, HEIGHTS = 5.0, 1.35


class Wall(StrEnum):
    """The wall behind the street."""

    BRICK = "brick"
    PANELS = "panels"
    SHOPS = "shops"
    HEDGE = "hedge"


class Floor(StrEnum):
    """The floor that people walk on."""

    ASPHALT = "asphalt"
    TILES = "tiles"
    GRASS = "grass"


PAINT: tuple[RGB, ...] = (
    (150, 92, 76),
    (172, 164, 150),
    (120, 128, 138),
    (196, 188, 170),
    (96, 104, 96),
    (164, 148, 120),
)


def draw_backdrop(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float32]:
    """Draw a street that is wide enough to place people anywhere along it.

    Args:
        rng: the camera's random stream.
        size: (height, width) of one crop, pixels.

    Returns:
        (HEIGHTS * H, WIDTHS * W, 3) float32, 0..1, RGB; the floor begins between a third and
        two thirds of the height.
    """
    height, width = round(size[0] * HEIGHTS), round(size[1] * WIDTHS)
    horizon = round(height * rng.uniform(0.34, 0.62))
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    _paint_floor(draw, rng, (width, height), horizon)
    _paint_wall(draw, rng, (width, height), horizon)
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    rough = _noise(rng, (height, width), coarsest=max(4, size[0] // 10))
    return np.clip(pixels * (1.0 + 0.14 * rough[..., None]), 0.0, 1.0)


def _paint_wall(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: int
) -> None:
    width, _ = size
    colour = PAINT[int(rng.integers(len(PAINT)))]
    draw.rectangle((0, 0, width, horizon), fill=colour)
    wall = tuple(Wall)[int(rng.integers(len(Wall)))]
    match wall:
        case Wall.BRICK:
            _bricks(draw, rng, width, horizon, colour)
        case Wall.PANELS:
            step = max(8, horizon // 2)
            for x in range(int(rng.integers(step)), width, step):
                draw.line((x, 0, x, horizon), fill=tone(colour, 0.75), width=max(1, step // 16))
            draw.rectangle((0, round(horizon * 0.86), width, horizon), fill=tone(colour, 0.6))
        case Wall.SHOPS:
            _shops(draw, rng, width, horizon)
        case Wall.HEDGE:
            _hedge(draw, rng, width, horizon)


def _bricks(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int, colour: RGB
) -> None:
    course = max(3, horizon // 12)
    for row, y in enumerate(range(0, horizon, course)):
        for x in range(-course * (row % 2), width, 2 * course):
            shade = tone(colour, float(rng.uniform(0.82, 1.12)))
            draw.rectangle((x, y, x + 2 * course - 2, min(horizon, y + course - 2)), fill=shade)


def _shops(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    x = 0
    while x < width:
        wide = int(rng.integers(max(8, horizon // 3), max(9, horizon)))
        top, bottom = round(horizon * 0.15), round(horizon * 0.92)
        pane = tone((84, 96, 108), float(rng.uniform(0.5, 1.7)))
        draw.rectangle((x + 2, top, x + wide - 3, bottom), fill=pane)
        sign = PAINT[int(rng.integers(len(PAINT)))]
        draw.rectangle((x + 1, round(horizon * 0.03), x + wide - 2, top - 1), fill=sign)
        glare = [(x + wide * 0.2, bottom), (x + wide * 0.5, top), (x + wide * 0.65, top)]
        draw.polygon([*glare, (x + wide * 0.35, bottom)], fill=tone(pane, 1.2))
        x += wide


def _hedge(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    draw.rectangle((0, 0, width, horizon), fill=(62, 84, 54))
    radius = max(2, horizon // 16)
    for x, y, light in zip(
        rng.uniform(0, width, 6 * width // radius),
        rng.uniform(0, horizon, 6 * width // radius),
        rng.uniform(0.6, 1.5, 6 * width // radius),
        strict=True,
    ):
        leaf = tone((62, 84, 54), float(light))
        draw.ellipse((x - radius, y - radius * 0.7, x + radius, y + radius * 0.7), fill=leaf)
    draw.rectangle((0, horizon - radius, width, horizon), fill=(128, 124, 116))


def _paint_floor(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: int
) -> None:
    width, height = size
    floor = tuple(Floor)[int(rng.integers(len(Floor)))]
    grey = int(rng.integers(96, 176))
    match floor:
        case Floor.ASPHALT:
            draw.rectangle((0, horizon, width, height), fill=(grey - 20, grey - 18, grey - 14))
            stripe = horizon + round((height - horizon) * rng.uniform(0.25, 0.7))
            draw.rectangle((0, stripe, width, stripe + height // 50), fill=(206, 204, 190))
        case Floor.TILES:
            _tiles(draw, size, horizon, (grey, grey - 6, grey - 16))
        case Floor.GRASS:
            draw.rectangle((0, horizon, width, height), fill=(98, 118, 66))
            path = horizon + round((height - horizon) * rng.uniform(0.2, 0.5))
            draw.rectangle((0, path, width, height), fill=(grey, grey - 10, grey - 24))


def _tiles(draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: int, colour: RGB) -> None:
    """Paving seen from the side of the street: rows grow towards the camera."""
    width, height = size
    draw.rectangle((0, horizon, width, height), fill=colour)
    joint = tone(colour, 0.78)
    vanishing = horizon - (height - horizon)
    for share in (0.06, 0.16, 0.30, 0.50, 0.75):
        y = horizon + share * (height - horizon)
        draw.line((0, y, width, y), fill=joint)
    for index in range(-8, 25):
        foot = index * width / 16.0
        top = width / 2 + (foot - width / 2) * (horizon - vanishing) / (height - vanishing)
        draw.line((top, horizon, foot, height), fill=joint)


def _noise(rng: np.random.Generator, size: tuple[int, int], coarsest: int) -> NDArray[np.float32]:
    """Rough patches of several sizes, standard deviation about 0.5."""
    height, width = size
    total = np.zeros(size, dtype=np.float32)
    cell = coarsest
    while cell >= 1:
        grid = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
        patches = Image.fromarray(grid).resize((width, height), Image.Resampling.BILINEAR)
        total += np.asarray(patches, dtype=np.float32)
        cell //= 2
    return total / max(1.0, 2.0 * float(total.std()))
