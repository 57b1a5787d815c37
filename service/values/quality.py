"""How well a frame shows a person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Weakness = Literal["too_small", "blurred", "cut_off", "covered", "low_score"]
"""What is wrong with the picture of a person."""

TALL = 128.0
"""Height in pixels from which a person is no longer too small; networks see hardly more."""
SHARP = 0.6
"""Sharpness from which a person is no longer blurred."""
SURE = 0.6
"""Score from which a detector is sure; it rarely gives more to anybody."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a frame shows a person.

    Attributes:
        height: of the box, in pixels of the frame.
        sharpness: 0 (blurred) to 1; people in focus have about 0.7.
        cut_off: estimated share of the person beyond the edge of the frame, 0..1.
        covered: estimated share of the box behind other persons, 0..1.
        score: the detector's, 0..1; None if nobody gave one.
    """

    height: float
    sharpness: float
    cut_off: float
    covered: float
    score: float | None = None

    @property
    def value(self) -> float:
        """All of it in one number, 0..1: the product of a grade per attribute, to a thousandth."""
        return round(math.prod(self._grades().values()), 3)

    @property
    def weakness(self) -> Weakness:
        """What lowers :attr:`value` most."""
        grades = self._grades()
        return min(grades, key=lambda name: grades[name])

    def _grades(self) -> dict[Weakness, float]:
        return {
            "too_small": min(1.0, self.height / TALL),
            "blurred": min(1.0, self.sharpness / SHARP),
            "cut_off": 1.0 - self.cut_off,
            "covered": 1.0 - self.covered,
            "low_score": 1.0 if self.score is None else min(1.0, self.score / SURE),
        }
