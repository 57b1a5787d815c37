"""A frame on its way to the service, and what every source of frames does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WatchedFrame:
    """A frame of the camera.

    Attributes:
        frame_id: stable: the same frame has the same id when it is read again.
        data: an image file.
        seconds: when it was taken, from any fixed moment.
        timestamp: when it was taken, in seconds since 1970-01-01 UTC, if known.
    """

    frame_id: str
    data: bytes
    seconds: float
    timestamp: float | None


class Source(Protocol):
    """Where frames come from."""

    @property
    def live(self) -> bool:
        """Whether frames come whether or not anybody waits for them, so that some may be lost."""
        ...

    @property
    def fps(self) -> float | None:
        """Frames per second to send; None for all that come."""
        ...

    @property
    def track_prefix(self) -> str | None:
        """Begins the names of tracks; None if the time of the first frame shall."""
        ...

    @property
    def reconnects(self) -> int:
        """How often a lost connection was made again."""
        ...

    def frames(self, stop: Event) -> Iterator[WatchedFrame]:
        """Read the frames to send, in their order.

        Args:
            stop: is set to make it end.

        Yields:
            The frames.

        Raises:
            ReidError: the source cannot be read.
        """
        ...
