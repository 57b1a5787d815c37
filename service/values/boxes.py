"""A box around a person on a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

LOWEST_SCORE = 0.05
"""No caller can ask for persons below it: nearly all of them would be none."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels of the upright frame.

    Attributes:
        left: x of its left edge; 0 is the frame's.
        top: y of its upper edge; 0 is the frame's.
        width: > 0.
        height: > 0.
    """

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.top + self.height

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The whole pixels of a frame that it touches.

        Args:
            width: of the frame.
            height: of the frame.

        Returns:
            Left, top, right and bottom of these pixels; right and bottom are excluded. Nothing is
            left of a box beyond the frame: its right is not above its left, or its bottom not
            above its top.
        """
        # In tenths of a pixel, so that 0.1 + 0.2 does not touch one pixel more than 0.3.
        left, top = max(0.0, round(self.left, 1)), max(0.0, round(self.top, 1))
        right = min(float(width), round(self.right, 1))
        bottom = min(float(height), round(self.bottom, 1))
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
