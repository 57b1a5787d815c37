"""Of many pictures of a track, keep the best few.

A person who walks past at ten frames per second gives a hundred pictures, which show nearly the
same. Those that are kept are good, and differ in time and looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ThinningOptions:
    """How many pictures of a track to keep.

    Attributes:
        most: per window, >= 1.
        window: seconds after which the pictures so far are handed out, > 0. So a person who stands
            for an hour does not wait for an hour.
        gap: seconds without a picture after which a track counts as ended, > 0.
        alike: cosine of the embeddings, 0..1, from which two pictures show the same: the worse of
            them goes.
    """

    most: int = 4
    window: float = 10.0
    gap: float = 2.0
    alike: float = 0.92

    def __post_init__(self) -> None:
        """Check the rules above. Raises ValueError: one is broken."""
        if self.most < 1:
            raise ValueError(f"most must be at least 1, got {self.most}")
        if not (self.window > 0.0 and self.gap > 0.0):
            raise ValueError(
                f"window and gap must be above 0 seconds, got {self.window} and {self.gap}"
            )
        if not 0.0 <= self.alike <= 1.0:
            raise ValueError(f"alike must be between 0 and 1, got {self.alike}")


@dataclass(frozen=True, slots=True)
class Kept(Generic[Item]):
    """A picture that was kept.

    Attributes:
        track: its name.
        item: what was added.
        quality: of the picture, 0..1.
        seconds: when it was taken.
        embedding: (D,) of unit length, if known.
    """

    track: str
    item: Item
    quality: float
    seconds: float
    embedding: NDArray[np.float32] | None = None


class Thinner(Generic[Item]):
    """Keeps the best pictures of the tracks of one camera.

    It holds at most ``most`` pictures of each track of the last ``gap`` seconds, if
    :meth:`finished` is called for every frame.

    Args:
        options: how many pictures to keep.

    Attributes:
        added: pictures that were added.
        dropped: pictures that were not kept.
    """

    def __init__(self, options: ThinningOptions | None = None) -> None:
        self._options = options or ThinningOptions()
        self._windows: dict[str, _Window[Item]] = {}
        self._finished: list[Kept[Item]] = []
        self.added = 0
        self.dropped = 0

    def add(
        self,
        track: str,
        item: Item,
        quality: float,
        seconds: float,
        embedding: NDArray[np.float32] | None = None,
    ) -> None:
        """Add a picture of a track.

        Args:
            track: its name.
            item: anything that leads to the picture.
            quality: of the picture, 0..1.
            seconds: when it was taken.
            embedding: (D,) of unit length, if known.
        """
        self.added += 1
        window = self._windows.get(track)
        if window is not None and self._is_over(window, seconds):
            self._close(track)
            window = None
        if window is None:
            window = self._windows[track] = _Window(seconds)
        window.pictures.append(Kept(track, item, quality, seconds, embedding))
        window.last = seconds
        if len(window.pictures) > self._options.most:
            window.pictures.pop(_least_useful(window.pictures, self._options))
            self.dropped += 1

    def finished(self, now: float) -> list[Kept[Item]]:
        """Hand out the pictures of tracks that have ended, and of windows that are over.

        Args:
            now: the time of the latest frame, whether or not anybody is on it.

        Returns:
            The pictures, track by track in the order of their times. Each is handed out once.
        """
        over = [track for track, window in self._windows.items() if self._is_over(window, now)]
        for track in over:
            self._close(track)
        finished, self._finished = self._finished, []
        return finished

    def flush(self) -> list[Kept[Item]]:
        """Hand out all pictures, because no frame will follow."""
        for track in list(self._windows):
            self._close(track)
        finished, self._finished = self._finished, []
        return finished

    def _is_over(self, window: _Window[Item], now: float) -> bool:
        # A clock that was set back ends a window too; otherwise its pictures would wait for it.
        in_window = 0.0 <= now - window.begin < self._options.window
        return not in_window or now - window.last > self._options.gap

    def _close(self, track: str) -> None:
        pictures = self._windows.pop(track).pictures
        different = _different(pictures, self._options.alike)
        self.dropped += len(pictures) - len(different)
        self._finished += different


class _Window(Generic[Item]):
    """The best pictures of a track so far, in the order of their times."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.last = begin
        self.pictures: list[Kept[Item]] = []


def _least_useful(pictures: Sequence[Kept[Item]], options: ThinningOptions) -> int:
    """The place of the picture that goes; it is never the best one.

    A picture is as useful as it is good, and as it is far from its nearest neighbour. The nearest
    neighbour of the best picture is at most as far from its own, and worse.
    """
    useful = [
        (
            one.quality
            * min(_distance(one, other, options) for other in pictures if other is not one)
        )
        for one in pictures
    ]
    return min(range(len(pictures)), key=lambda place: (useful[place], pictures[place].quality))


def _distance(one: Kept[Item], other: Kept[Item], options: ThinningOptions) -> float:
    """How much two pictures differ, 0..1: in time and, if known, in looks."""
    apart = min(1.0, abs(one.seconds - other.seconds) * options.most / options.window)
    if one.embedding is None or other.embedding is None:
        return apart
    return (apart + max(0.0, 1.0 - float(one.embedding @ other.embedding))) / 2


def _different(pictures: Sequence[Kept[Item]], alike: float) -> list[Kept[Item]]:
    """Leave out every picture that shows the same as a better one."""
    chosen: list[Kept[Item]] = []
    for picture in sorted(pictures, key=lambda picture: -picture.quality):
        if not any(_cosine(picture, other) >= alike for other in chosen):
            chosen.append(picture)
    return sorted(chosen, key=lambda picture: picture.seconds)


def _cosine(one: Kept[Item], other: Kept[Item]) -> float:
    if one.embedding is None or other.embedding is None:
        return -1.0
    return float(one.embedding @ other.embedding)
