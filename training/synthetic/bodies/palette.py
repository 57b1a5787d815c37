"""Colours of clothes, skin and hair, weighted as in a street, and how they vary.

Palettes are sRGB, because that is how colours are named and looked up. Everything that leaves this
module is a linear reflectance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.person import Colour

RGB = tuple[int, int, int]
Palette = tuple[tuple[RGB, float], ...]

BLACK, CHARCOAL, GREY, PALE = (45, 45, 47), (74, 75, 79), (124, 125, 127), (176, 176, 176)
WHITE, NAVY, BEIGE, BROWN = (224, 223, 219), (45, 51, 72), (190, 174, 148), (98, 78, 62)
DENIM, DARK_DENIM, LIGHT_DENIM = (86, 102, 128), (54, 63, 82), (138, 157, 180)

# White cloth reflects about 80 % of the light and black cloth about 2 %; pigments reach neither 0
# nor 1.
DARKEST, LIGHTEST = 0.02, 0.78

TOPS: Palette = (
    (BLACK, 24),
    (WHITE, 17),
    (CHARCOAL, 8),
    (GREY, 8),
    (PALE, 5),
    (NAVY, 9),
    ((74, 94, 130), 4),  # blue
    ((142, 170, 202), 4),  # light blue
    (BEIGE, 5),
    (BROWN, 3),
    ((88, 90, 64), 3),  # olive
    ((52, 78, 62), 1.5),  # dark green
    ((102, 50, 56), 2.5),  # burgundy
    ((158, 56, 56), 2.5),  # red
    ((200, 164, 168), 2),  # pink
    ((196, 158, 66), 1),  # mustard
    ((120, 104, 140), 1),  # mauve
)
VIVID: Palette = (
    ((186, 56, 54), 3),
    ((56, 98, 172), 3),
    ((212, 182, 78), 2),
    ((206, 118, 62), 2),
    ((62, 132, 92), 2),
    ((198, 100, 142), 2),
    ((66, 146, 156), 1.5),
    ((116, 80, 146), 1),
)
OUTERWEAR: Palette = (
    (BLACK, 36),
    (CHARCOAL, 12),
    (GREY, 6),
    (NAVY, 13),
    (BEIGE, 8),
    ((148, 112, 76), 4),  # camel
    (BROWN, 4),
    ((88, 90, 64), 6),  # olive
    (WHITE, 2.5),
    ((102, 50, 56), 2),
    ((74, 94, 130), 2.5),
    ((158, 56, 56), 2),
)
TROUSERS: Palette = (
    (BLACK, 40),
    (CHARCOAL, 12),
    (GREY, 7),
    (NAVY, 11),
    (BEIGE, 8),
    ((150, 132, 106), 4),  # khaki
    ((88, 90, 64), 4),
    (BROWN, 3),
    (WHITE, 3.5),
    ((102, 50, 56), 1),
    ((74, 94, 130), 1.5),
)
JEANS: Palette = ((DENIM, 38), (DARK_DENIM, 34), (LIGHT_DENIM, 16), (CHARCOAL, 6), (BLACK, 6))
SKIRTS: Palette = (
    (BLACK, 34),
    (NAVY, 12),
    (GREY, 8),
    (DENIM, 8),
    (BEIGE, 8),
    (WHITE, 7),
    (CHARCOAL, 6),
    (BROWN, 4),
    ((102, 50, 56), 4),
    ((158, 56, 56), 3),
    ((88, 90, 64), 3),
    ((200, 164, 168), 3),
)
SHOES: Palette = (
    (BLACK, 44),
    (WHITE, 22),
    (CHARCOAL, 9),
    (GREY, 6),
    (BROWN, 9),
    (NAVY, 4),
    (BEIGE, 3),
    ((158, 56, 56), 1.2),
    ((74, 94, 130), 1),
)
SOCKS: Palette = ((WHITE, 46), (BLACK, 36), (GREY, 11), (NAVY, 5), ((158, 56, 56), 0.7))
TIGHTS: Palette = ((BLACK, 70), (CHARCOAL, 12), (NAVY, 5), ((150, 112, 90), 9), (BROWN, 4))
BAGS: Palette = (
    (BLACK, 46),
    (CHARCOAL, 10),
    (NAVY, 9),
    (GREY, 7),
    (BROWN, 9),
    ((148, 112, 76), 4),
    (BEIGE, 4),
    (WHITE, 2.5),
    ((88, 90, 64), 3),
    ((158, 56, 56), 3),
    ((74, 94, 130), 2),
    ((200, 164, 168), 1.5),
)
HATS: Palette = (
    (BLACK, 42),
    (NAVY, 12),
    (GREY, 10),
    (WHITE, 10),
    (BEIGE, 8),
    (CHARCOAL, 6),
    ((158, 56, 56), 4),
    ((88, 90, 64), 3),
    ((74, 94, 130), 2),
)
SKIN: Palette = (
    ((212, 174, 152), 20),
    ((202, 162, 136), 26),
    ((186, 144, 116), 22),
    ((162, 120, 92), 13),
    ((128, 92, 70), 10),
    ((92, 66, 52), 9),
)
HAIR: Palette = (
    ((26, 22, 21), 46),
    ((50, 36, 28), 24),
    ((84, 60, 42), 14),
    ((132, 98, 62), 6),
    ((186, 152, 100), 6),
    ((120, 62, 38), 2.5),
)
GREY_HAIR: Palette = (((112, 110, 108), 4), ((160, 158, 154), 4), ((206, 204, 198), 3))


def linear(rgb: RGB | NDArray[np.float64]) -> Colour:
    """Turn a colour of sRGB, 0..255 per channel, into linear reflectance."""
    share = np.asarray(rgb, np.float64) / 255.0
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    red, green, blue = (float(value) for value in np.clip(light, DARKEST, LIGHTEST))
    return red, green, blue


def pick(rng: np.random.Generator, palette: Palette) -> Colour:
    """Pick a colour by its weight and vary it: two black coats are rarely the same black.

    Args:
        rng: the random stream.
        palette: sRGB colours with weights > 0.

    Returns:
        Linear reflectance.
    """
    ends = np.cumsum([weight for _, weight in palette])
    index = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
    chosen = np.array(palette[index][0], np.float64)
    lightness, hue = rng.normal(0.0, 1.0), rng.normal(0.0, 1.0, 3)
    # In dark colours, the same difference would look like another hue.
    chosen += 8.0 * lightness + hue * (1.0 + 3.0 * chosen.mean() / 255.0)
    return linear(np.clip(chosen, 0.0, 255.0))


def cloth(rng: np.random.Generator, palette: Palette, vivid: float = 0.04) -> Colour:
    """Pick a colour of cloth: from the palette, or with the chance ``vivid`` a vivid one."""
    return pick(rng, VIVID if rng.random() < vivid else palette)


def shade(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    """Vary a linear colour: lighter or darker by about ``spread``, and a little in hue."""
    factor = np.exp(rng.normal(0.0, spread)) * np.exp(rng.normal(0.0, spread / 4.0, 3))
    red, green, blue = np.clip(np.array(colour) * factor, DARKEST, LIGHTEST).tolist()
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    """Make a linear colour darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = np.clip(np.array(colour) * factor, DARKEST, LIGHTEST).tolist()
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """Measure how far apart two colours look: distance of their square roots, 0..1.7."""
    return float(np.linalg.norm(np.sqrt(np.array(one)) - np.sqrt(np.array(other))))


def saturation(colour: Colour) -> float:
    """Measure how colourful a linear colour looks, 0..1: the spread of its square roots."""
    root = np.sqrt(np.array(colour))
    return float(root.max() - root.min())
