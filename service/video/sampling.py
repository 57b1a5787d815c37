"""Choose the frames of a video that are looked at: so many per second, by their times."""

from __future__ import annotations

import math

FPS = 2.0
"""Frames per second, unless the caller says something else: who walks by is seen a few times."""

LEAST_FPS, MOST_FPS = 1 / 3600, 60.0
LEAST_FPS_OF_TRACKS = 1.0
"""Frames per second below which nobody can be followed: people leave their places in between."""

_ROUNDING = 1e-6  # of a frame: the times of a video are fractions that floats only approximate


class Sampler:
    """Takes the first frame of every period of a video.

    Args:
        fps: frames to take per second, > 0. A video with fewer frames is taken whole.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._period: int | None = None

    def takes(self, seconds: float) -> bool:
        """Whether to look at the next frame.

        Args:
            seconds: its time since any fixed moment. A time before the last one begins anew.

        Returns:
            Whether no frame of this period was taken yet.
        """
        period = math.floor(seconds * self._fps + _ROUNDING)
        if period == self._period:
            return False
        self._period = period
        return True


def expected_frames(seconds: float, rate: float | None, fps: float) -> int:
    """Estimate how many frames of a video a sampler takes.

    Args:
        seconds: length of the video, >= 0.
        rate: its frames per second, if known.
        fps: of the sampler.

    Returns:
        The number, >= 1.
    """
    return max(1, math.ceil(seconds * min(fps, rate or fps) - _ROUNDING))
