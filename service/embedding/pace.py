"""Measure how fast images are processed, to estimate how long others will wait."""

from __future__ import annotations

_DECAY = 0.8  # weight of the past: about the last five runs count


class Pace:
    """The speed of the latest runs, weighted by size because a full queue makes large runs."""

    def __init__(self) -> None:
        self._images = 0.0
        self._seconds = 0.0

    @property
    def images_per_second(self) -> float:
        """The measured rate; 0 before the first run."""
        return self._images / max(self._seconds, 1e-9)

    def count(self, images: int, seconds: float) -> None:
        """Add a run.

        Args:
            images: number of images processed.
            seconds: duration of the run.
        """
        self._images = _DECAY * self._images + images
        self._seconds = _DECAY * self._seconds + seconds

    def seconds_of(self, images: int) -> float:
        """Estimate how long a number of images takes, in seconds; 0 before the first run."""
        rate = self.images_per_second
        return images / rate if rate else 0.0
