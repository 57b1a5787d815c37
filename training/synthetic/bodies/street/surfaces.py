"""Surfaces without units: asphalt, grass, plaster, leaves, wood, carpet; and what is laid where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.masonry import Laid, lay
from training.synthetic.bodies.street.noise import clouds, linear, pick

if TYPE_CHECKING:
    from collections.abc import Sequence

Float32s = NDArray[np.float32]
Palette = tuple[tuple[int, int, int], ...]

FINE = 64.0
WALL = 32.0
SIDE = 384

BRICKS: Palette = ((150, 86, 66), (122, 84, 70), (168, 112, 84), (186, 160, 122), (104, 74, 66))
PLASTERS: Palette = (
    (222, 218, 208), (224, 206, 168), (206, 160, 134), (190, 190, 186), (170, 176, 182),
    (204, 192, 172), (150, 146, 138), (196, 204, 200), (216, 184, 130), (128, 122, 118),
)  # fmt: skip
STONES: Palette = ((176, 166, 146), (150, 146, 138), (196, 182, 152), (120, 118, 116))
SLABS: Palette = (
    (150, 148, 142), (170, 164, 150), (128, 126, 124), (184, 172, 150), (160, 132, 116),
    (112, 112, 116), (196, 190, 178),
)  # fmt: skip
FLOORS: Palette = (
    (206, 200, 188), (184, 182, 178), (216, 206, 186), (150, 146, 142), (120, 112, 104),
    (196, 176, 150), (88, 88, 92), (226, 224, 218),
)  # fmt: skip
SIGNS_ON_GROUND: Palette = ((226, 224, 214), (226, 224, 214), (222, 180, 50), (70, 100, 150))
CARPETS: Palette = ((96, 100, 112), (120, 76, 70), (84, 96, 88), (132, 124, 112), (70, 74, 92))


def plain(rng: np.random.Generator, rough: float = 1.0, spread: float = 0.05) -> Float32s:
    """White with faint noise; objects tint it."""
    noise = clouds(rng, (128, 128), rough)[:, :, None]
    return np.asarray(np.clip(0.9 * np.exp(spread * noise), 0.0, 1.0).repeat(3, axis=2), np.float32)


def asphalt(rng: np.random.Generator) -> Float32s:
    """Grey, grainy, with cracks along noise's zero lines, and seams of tar."""
    grey = linear((rng.uniform(88, 142),) * 3) * np.array([1.0, 1.0, rng.uniform(0.95, 1.06)])
    grains = clouds(rng, (SIDE, SIDE), 0.3)
    patches = clouds(rng, (SIDE, SIDE), 1.6)
    image = grey * np.exp(0.13 * grains + 0.1 * patches)[:, :, None]
    line = np.abs(clouds(rng, (SIDE, SIDE), 1.9)) < rng.uniform(0.0, 0.012)
    cracks = line & (clouds(rng, (SIDE, SIDE), 1.8) > 0.4)
    image[cracks] *= 0.5
    return np.asarray(image, np.float32)


def concrete(rng: np.random.Generator) -> Float32s:
    """Pale grey, poured in large fields, with soft stains and cracks."""
    colour = pick(rng, SLABS)
    field = rng.uniform(1.5, 3.0)
    laid = Laid((field, field), (2, 2), 0.025, 0.0, colour, colour, colour * 0.5, 0.05, 0.05)
    image = lay(rng, laid, FINE)
    size = (image.shape[0], image.shape[1])
    stains = 0.1 * clouds(rng, size, 1.5) + 0.05 * clouds(rng, size, 0.3)
    image = image * np.exp(stains)[:, :, None]
    cracks = (np.abs(clouds(rng, size, 1.9)) < 0.006) & (clouds(rng, size, 1.8) > 0.5)
    image[cracks] *= 0.55
    return np.asarray(image, np.float32)


def slabs(rng: np.random.Generator) -> Float32s:
    """Paving slabs, square or long, in bond or in a grid."""
    colour = pick(rng, SLABS)
    size = rng.uniform(0.25, 0.75)
    ratio = float(rng.choice([1.0, 1.0, 1.5, 2.0]))
    dark = rng.uniform(0.45, 0.8)
    chequered = colour * (rng.uniform(0.6, 0.9) if rng.random() < 0.2 else 1.0)
    laid = Laid(
        (size * ratio, size), _fill((size * ratio, size), 6.0), rng.uniform(0.012, 0.03),
        float(rng.choice([0.0, 0.5])), colour, chequered, colour * dark,
        rng.uniform(0.03, 0.13), 0.08,
    )  # fmt: skip
    return lay(rng, laid, FINE)


def cobbles(rng: np.random.Generator) -> Float32s:
    """Small stones or clinker in bond."""
    colour = pick(rng, STONES + BRICKS[:2])
    size = rng.uniform(0.09, 0.16)
    unit = (size * float(rng.choice([1.0, 2.0])), size)
    laid = Laid(unit, _fill(unit, 4.0), 0.02, 0.5, colour, colour, colour * 0.45, 0.2, 0.12)
    return lay(rng, laid, FINE)


def floor(rng: np.random.Generator) -> Float32s:
    """Floor tiles indoors, sometimes chequered or veined like marble."""
    colour = pick(rng, FLOORS)
    size = rng.uniform(0.3, 0.95)
    other = pick(rng, FLOORS) if rng.random() < 0.25 else colour
    laid = Laid(
        (size, size), _fill((size, size), 6.0), 0.012, 0.0, colour, other,
        colour * rng.uniform(0.6, 0.9), rng.uniform(0.01, 0.05), rng.uniform(0.02, 0.08),
    )  # fmt: skip
    return lay(rng, laid, FINE)


def carpet(rng: np.random.Generator) -> Float32s:
    """Carpet with a faint repeating figure."""
    colour = pick(rng, CARPETS)
    y, x = np.mgrid[0:SIDE, 0:SIDE] * (2.0 * np.pi / SIDE)
    waves = int(rng.integers(4, 16))
    figure = rng.uniform(0.0, 0.12) * np.sign(np.sin(waves * x) * np.sin(waves * y))
    image = colour * np.exp(figure + 0.16 * clouds(rng, (SIDE, SIDE), 0.2))[:, :, None]
    return np.asarray(image, np.float32)


def grass(rng: np.random.Generator) -> Float32s:
    """Lawn: blades, dry patches."""
    green = linear((rng.uniform(82, 114), rng.uniform(98, 122), rng.uniform(56, 76)))
    dry = linear((150, 138, 92))
    share = np.clip(0.25 + 0.3 * clouds(rng, (SIDE, SIDE), 1.5), 0.0, 1.0)[:, :, None]
    image = green + rng.uniform(0.0, 0.8) * share * (dry - green)
    return np.asarray(image * np.exp(0.24 * clouds(rng, (SIDE, SIDE), 0.6))[:, :, None], np.float32)


def gravel(rng: np.random.Generator) -> Float32s:
    """Sand and small stones."""
    colour = pick(rng, ((176, 162, 136), (158, 150, 138), (186, 160, 118)))
    noise = 0.14 * clouds(rng, (SIDE, SIDE), 0.3) + 0.1 * clouds(rng, (SIDE, SIDE), 1.5)
    return np.asarray(colour * np.exp(noise)[:, :, None], np.float32)


def leaves(rng: np.random.Generator) -> Float32s:
    """Leaves and the dark between them; trees and hedges tint it green."""
    fine = clouds(rng, (256, 256), 0.75)
    image = 0.55 * np.exp(0.55 * fine)[:, :, None] * np.array([0.95, 1.0, 0.8])
    image[fine < -1.2] *= 0.45
    return np.asarray(image, np.float32)


def planks(rng: np.random.Generator) -> Float32s:
    """Wooden boards."""
    colour = pick(rng, ((140, 104, 72), (116, 84, 60), (166, 132, 96), (98, 92, 84)))
    laid = Laid((2.0, 0.12), (2, 16), 0.012, 0.5, colour, colour, colour * 0.35, 0.12, 0.1)
    return lay(rng, laid, FINE)


def wall(rng: np.random.Generator, size: tuple[int, int]) -> Float32s:
    """The plain wall of a house: brick, stone, panels or plaster.

    Args:
        rng: source of randomness.
        size: rows and columns, 32 a metre.

    Returns:
        (rows, columns, 3) float32 linear reflectance.
    """
    material = rng.random()
    if material < 0.5:
        colour = pick(rng, PLASTERS)
        dirt = 0.05 * clouds(rng, size, 1.5) + 0.03 * clouds(rng, size, 0.2)
        image = colour * np.exp(dirt)[:, :, None]
    elif material < 0.8:
        image = _tile(lay(rng, _brick(rng), WALL), size)
    else:
        image = _tile(lay(rng, _stone(rng), WALL), size)
    # Rain and the street darken the foot of a wall.
    foot = 1.0 - rng.uniform(0.05, 0.3) * np.linspace(0.0, 1.0, size[0]) ** 8
    return np.asarray(image * foot[:, None, None], np.float32)


def _brick(rng: np.random.Generator) -> Laid:
    colour = pick(rng, BRICKS)
    mortar = linear((rng.uniform(110, 190),) * 3)
    return Laid((0.25, 0.078), (16, 26), 0.014, 0.5, colour, colour, mortar, 0.17, 0.08)


def _stone(rng: np.random.Generator) -> Laid:
    colour = pick(rng, STONES + PLASTERS)
    unit = (rng.uniform(0.5, 1.6), rng.uniform(0.3, 1.2))
    shift = float(rng.choice([0.0, 0.5]))
    return Laid(unit, (4, 6), 0.035, shift, colour, colour, colour * 0.55, 0.07, 0.07)


def _fill(unit: Sequence[float], length: float) -> tuple[int, int]:
    """Even numbers of units that fill about a length."""
    across, up = (2 * max(1, round(length / side / 2.0)) for side in unit)
    return across, up


def _tile(image: Float32s, size: tuple[int, int]) -> Float32s:
    """Repeat a texture over a size."""
    times = (-(-size[0] // image.shape[0]), -(-size[1] // image.shape[1]), 1)
    return np.tile(image, times)[: size[0], : size[1]]
