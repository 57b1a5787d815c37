"""Colours of people and streets.

The palettes are short, and weighted like clothes in a street: mostly dark, grey, white and blue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

RGB = tuple[int, int, int]
T = TypeVar("T")

SKIN: tuple[tuple[RGB, float], ...] = (
    ((234, 194, 166), 3.0),
    ((216, 170, 136), 3.0),
    ((190, 140, 104), 2.0),
    ((150, 104, 74), 1.5),
    ((96, 66, 50), 1.5),
)
HAIR: tuple[tuple[RGB, float], ...] = (
    ((26, 22, 22), 4.0),
    ((62, 42, 30), 3.0),
    ((112, 74, 44), 2.0),
    ((196, 156, 92), 1.2),
    ((150, 66, 36), 0.6),
    ((150, 148, 146), 0.7),
)
CLOTH: tuple[tuple[RGB, float], ...] = (
    ((34, 34, 38), 3.0),  # black
    ((78, 82, 90), 2.0),  # charcoal
    ((150, 152, 156), 2.0),  # grey
    ((232, 232, 228), 2.5),  # white
    ((36, 46, 88), 2.0),  # navy
    ((52, 98, 168), 1.6),  # blue
    ((142, 182, 214), 1.2),  # light blue
    ((182, 44, 46), 1.4),  # red
    ((108, 36, 52), 1.0),  # burgundy
    ((44, 106, 74), 1.0),  # green
    ((104, 106, 66), 1.0),  # olive
    ((206, 184, 146), 1.2),  # beige
    ((110, 78, 56), 1.0),  # brown
    ((222, 140, 160), 0.8),  # pink
    ((232, 186, 62), 0.8),  # yellow
    ((116, 80, 138), 0.6),  # purple
)
LEGS: tuple[tuple[RGB, float], ...] = (
    ((32, 32, 36), 3.0),
    ((78, 82, 90), 2.0),
    ((40, 52, 92), 2.5),  # dark denim
    ((92, 120, 166), 2.0),  # light denim
    ((150, 152, 156), 1.0),
    ((206, 184, 146), 1.4),  # chino
    ((224, 224, 220), 0.8),
    ((104, 106, 66), 0.8),
    ((110, 78, 56), 0.6),
    ((108, 36, 52), 0.5),
)
LEATHER: tuple[tuple[RGB, float], ...] = (
    ((30, 30, 32), 3.0),
    ((232, 232, 230), 2.0),
    ((104, 70, 46), 1.5),
    ((176, 44, 44), 1.0),
    ((44, 66, 124), 1.0),
    ((214, 170, 70), 0.6),
)


def pick(rng: np.random.Generator, weighted: tuple[tuple[T, float], ...]) -> T:
    """Pick a value at random by its weight.

    Args:
        rng: the random stream; one number is taken from it.
        weighted: values with weights > 0.

    Returns:
        The value.
    """
    left = float(rng.random()) * sum(weight for _, weight in weighted)
    for value, weight in weighted:
        left -= weight
        if left < 0:
            return value
    return weighted[-1][0]


def vary(rng: np.random.Generator, colour: RGB) -> RGB:
    """Vary a palette colour slightly, because two black coats are rarely the same black.

    Args:
        rng: the random stream.
        colour: 0..255 per channel.

    Returns:
        The colour, slightly lighter or darker, with a slightly different hue.
    """
    red, green, blue = (
        min(255, max(0, round(channel + offset)))
        for channel, offset in zip(
            colour, rng.normal(0.0, 5.0, 3) + rng.normal(0.0, 6.0), strict=True
        )
    )
    return red, green, blue


def tone(colour: RGB, factor: float) -> RGB:
    """Make a colour darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
