"""Where a person will be on the next frame: a Kalman filter on a box.

The model is constant velocity with white-noise acceleration (Bar-Shalom, Li, Kirubarajan,
Estimation with Applications to Tracking and Navigation, 2001, section 6.2.2), in seconds, so the
time between two frames may vary. As in DeepSORT (Wojke, Bewley, Paulus, ICIP 2017), noise grows
with the height of the box: near people move and vary by more pixels. Centre x, centre y, width and
height do not influence each other, so each has a filter of two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.values.boxes import Box

Float64s = NDArray[np.float64]

# Standard deviations per centre x, centre y, width and height, in heights of the box. A person of
# 1.7 m who walks 1.3 m/s goes 0.76 heights per second.
_MEASURED = np.array([0.05, 0.05, 0.05, 0.05])
_FIRST_SPEED = np.array([0.6, 0.2, 0.15, 0.2])  # per second
_ACCELERATION = np.array([0.4, 0.15, 0.1, 0.15])  # per second to the power of 1.5


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a person was last seen, and how the person moves; never changed.

    Attributes:
        seconds: when the person was last seen.
        place: (4,) centre x, centre y, width and height at that time, in pixels.
        speed: (4,) pixels per second.
        variance: (3, 4) of the place, of place and speed together, and of the speed.
    """

    seconds: float
    place: Float64s
    speed: Float64s
    variance: Float64s

    @classmethod
    def begin(cls, box: Box, seconds: float) -> Self:
        """A person who is seen for the first time, and so has an unknown speed."""
        place = _place(box)
        height = place[3]
        variance = np.stack([(height * _MEASURED) ** 2, np.zeros(4), (height * _FIRST_SPEED) ** 2])
        return cls(seconds, place, np.zeros(4), variance)

    def at(self, seconds: float) -> Self:
        """Predict.

        Args:
            seconds: a time, not before that of the motion.

        Returns:
            The motion at that time, if nobody sees the person until then.
        """
        step = seconds - self.seconds
        place = self.place + step * self.speed
        place[2:] = np.maximum(place[2:], 1.0)
        noise = (self.place[3] * _ACCELERATION) ** 2
        first, both, second = self.variance
        variance = np.stack(
            [
                first + 2 * step * both + step**2 * second + noise * step**3 / 3,
                both + step * second + noise * step**2 / 2,
                second + noise * step,
            ]
        )
        return type(self)(seconds, place, self.speed, variance)

    def seen(self, box: Box) -> Self:
        """Correct a prediction by where the person is at its time."""
        measured = _place(box)
        first, both, second = self.variance
        total = first + (measured[3] * _MEASURED) ** 2
        gain, speed_gain = first / total, both / total
        surprise = measured - self.place
        variance = np.stack([(1 - gain) * first, (1 - gain) * both, second - speed_gain * both])
        return type(self)(
            self.seconds, self.place + gain * surprise, self.speed + speed_gain * surprise, variance
        )

    @property
    def corners(self) -> Float64s:
        """(4,) left, top, right and bottom of the box."""
        half = self.place[2:] / 2
        return np.concatenate([self.place[:2] - half, self.place[:2] + half])

    @property
    def doubt(self) -> float:
        """Standard deviation of the centre's x, in pixels."""
        return float(np.sqrt(self.variance[0, 0]))


def _place(box: Box) -> Float64s:
    return np.array([box.left + box.width / 2, box.top + box.height / 2, box.width, box.height])
