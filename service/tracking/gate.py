"""Drop pictures that show a person badly, and count why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from service.values.quality import Quality, Weakness


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What a picture must have to pass.

    Attributes:
        height: least height of the box, in pixels of the frame.
        sharpness: least sharpness, 0..1.
        cut_off: most of the person beyond the edge of the frame, 0..1.
        covered: most of the box behind other persons, 0..1.
        score: least score of the detector, 0..1.
        value: least quality as a whole, 0..1: two weaknesses may be too much together.
    """

    height: float = 64.0
    sharpness: float = 0.3
    cut_off: float = 0.2
    covered: float = 0.4
    score: float = 0.4
    value: float = 0.5


class Gate:
    """Lets pictures pass that show a person well.

    Args:
        options: what a picture must have.

    Attributes:
        passed: pictures that passed.
        dropped: pictures that did not, by reason.
    """

    def __init__(self, options: GateOptions | None = None) -> None:
        self._options = options or GateOptions()
        self.passed = 0
        self.dropped: dict[Weakness, int] = dict.fromkeys(get_args(Weakness), 0)

    def check(self, quality: Quality) -> Weakness | None:
        """Judge a picture, and count it.

        Args:
            quality: of the picture.

        Returns:
            Why it is dropped; the first of several reasons. None if it passes.
        """
        reason = self._reason(quality)
        if reason is None:
            self.passed += 1
        else:
            self.dropped[reason] += 1
        return reason

    def _reason(self, quality: Quality) -> Weakness | None:
        options = self._options
        broken: dict[Weakness, bool] = {
            "too_small": quality.height < options.height,
            "low_score": quality.score is not None and quality.score < options.score,
            "cut_off": quality.cut_off > options.cut_off,
            "covered": quality.covered > options.covered,
            "blurred": quality.sharpness < options.sharpness,
        }
        if quality.value < options.value:
            broken[quality.weakness] = True
        return next((reason for reason, is_broken in broken.items() if is_broken), None)
