"""From the persons on each frame of a camera to the pictures of them that are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.tracking.gate import Gate, GateOptions
from service.tracking.options import TrackerOptions
from service.tracking.thinning import Kept, Thinner, ThinningOptions
from service.tracking.tracker import Tracker
from service.values.boxes import Box
from service.values.quality import Quality

_TOLERANCE = 1.5  # steps between frames that a new track outlives
_LONG_TOLERANCE = 3.0  # the same for a track with a name

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sight(Generic[Item]):
    """A person on a frame.

    Attributes:
        item: anything that leads to the picture.
        box: where, in pixels.
        score: the detector's, 0..1.
        quality: how well the frame shows the person.
    """

    item: Item
    box: Box
    score: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class KeepingOptions:
    """What is kept.

    Attributes:
        fps: frames per second that come, >= 1.
        score: persons have at least this score; the tracker's ``high`` if None.
    """

    fps: float
    score: float | None = None

    @property
    def lowest(self) -> float:
        """Ask the detector for all persons with a score above it; the doubtful help to follow."""
        return self.tracker.low

    @property
    def least(self) -> float:
        """The score that a picture needs."""
        return self.tracker.high

    @property
    def tracker(self) -> TrackerOptions:
        """How persons are followed at this rate."""
        usual = TrackerOptions()
        high = usual.high if self.score is None else self.score
        return TrackerOptions(
            low=min(usual.low, high),
            high=high,
            start=min(1.0, high + usual.start - usual.high),
            gap=max(usual.gap, _LONG_TOLERANCE / self.fps),
            unnamed_gap=max(usual.unnamed_gap, _TOLERANCE / self.fps),
        )


class Keeper(Generic[Item]):
    """Follows the persons of one camera and keeps the best few pictures of each.

    Args:
        prefix: begins the name of every track.
        options: what is kept.
    """

    def __init__(self, prefix: str, options: KeepingOptions) -> None:
        rules = options.tracker
        self._least = options.least
        self._tracker = Tracker(prefix, rules)
        self._gate = Gate(GateOptions(score=options.least))
        self._thinner: Thinner[Item] = Thinner(ThinningOptions(gap=rules.gap))
        self._unused = 0
        self._last = -math.inf
        self.names: list[str | None] = []
        """The tracks of the latest frame's persons, for those who measure how they are followed."""

    @property
    def dropped(self) -> int:
        """Persons so far whose picture is not kept: bad, too similar, or seen only once."""
        return self._unused + self._thinner.dropped

    def count(self, sights: Sequence[Sight[Item]]) -> int:
        """How many of these are persons, and not only help to follow."""
        return sum(sight.score >= self._least for sight in sights)

    def see(self, seconds: float, sights: Sequence[Sight[Item]]) -> list[Kept[Item]]:
        """Follow the persons onto the next frame.

        Args:
            seconds: when it was taken, from any fixed moment. If that is before the frame before,
                the clock was set, and everybody is new.
            sights: all persons on it with a score above :attr:`KeepingOptions.lowest`.

        Returns:
            Pictures that are kept for good, each once.
        """
        if seconds < self._last:
            self._tracker.restart()
        self._last = seconds
        self.names = self._tracker.update(
            seconds, [sight.box for sight in sights], [sight.score for sight in sights]
        )
        for sight, name in zip(sights, self.names, strict=True):
            if sight.score < self._least:
                continue
            if name is None or self._gate.check(sight.quality) is not None:
                self._unused += 1
            else:
                self._thinner.add(name, sight.item, sight.quality.value, seconds)
        return self._thinner.finished(seconds)

    def finish(self) -> list[Kept[Item]]:
        """The pictures that are left, because no frame follows."""
        return self._thinner.flush()
