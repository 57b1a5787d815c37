"""Drawing rectangles and words on a wall, in metres from its lower left corner."""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

Float32s = NDArray[np.float32]
Colour = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle on a wall: left, bottom, right, top in metres."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """Metres."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Metres."""
        return self.top - self.bottom

    def inset(self, by: float) -> Rect:
        """Return the rectangle without a rim."""
        return Rect(self.left + by, self.bottom + by, self.right - by, self.top - by)

    def part(self, left: float, bottom: float, right: float, top: float) -> Rect:
        """Return a part, given in shares of width and height."""
        return Rect(
            self.left + left * self.width,
            self.bottom + bottom * self.height,
            self.left + right * self.width,
            self.bottom + top * self.height,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A wall's picture.

    Attributes:
        image: (rows, columns, 3) float32 linear reflectance, top row first; drawn on in place.
        fineness: texels per metre.
    """

    image: Float32s
    fineness: float

    @property
    def whole(self) -> Rect:
        """The whole wall."""
        rows, columns = self.image.shape[:2]
        return Rect(0.0, 0.0, columns / self.fineness, rows / self.fineness)

    def view(self, rect: Rect) -> Float32s:
        """Return the texels of a rectangle, cut at the edges; writing there draws."""
        rows = self.image.shape[0]
        left, right = (max(0, round(x * self.fineness)) for x in (rect.left, rect.right))
        top, bottom = (max(0, rows - round(y * self.fineness)) for y in (rect.top, rect.bottom))
        return self.image[top:bottom, left:right]

    def fill(self, rect: Rect, colour: Colour | Sequence[float]) -> None:
        """Fill a rectangle."""
        self.view(rect)[:] = colour

    def shade(self, rect: Rect, factor: float) -> None:
        """Darken (below 1) or brighten a rectangle."""
        self.view(rect)[:] *= factor

    def write(self, rng: np.random.Generator, rect: Rect, colour: Colour) -> None:
        """Write an invented word as large as fits into a rectangle."""
        target = self.view(rect)
        if target.shape[0] < 4 or target.shape[1] < 8:
            return
        mask = _word_mask(_word(rng), target.shape[0], target.shape[1])[:, :, None]
        target[:, : mask.shape[1]] += mask * (colour - target[:, : mask.shape[1]])


def _word(rng: np.random.Generator) -> str:
    letters = string.ascii_uppercase if rng.random() < 0.6 else string.ascii_lowercase
    return "".join(rng.choice(list(letters), int(rng.integers(3, 10))))


def _word_mask(word: str, height: int, width: int) -> Float32s:
    """(height, at most width) coverage of a word in white on black, 0..1."""
    font = _font(max(6, int(height * 0.8)))
    left, top, right, bottom = font.getbbox(word)
    image = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(image).text((-left, -top), word, fill=255, font=font)
    if image.width > width:
        image = image.resize((width, max(1, image.height * width // image.width)))
    board = Image.new("L", (width, height))
    board.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(board, np.float32) / 255.0


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
