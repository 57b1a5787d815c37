"""Frames that wait to be sent, between the thread that reads and the one that sends."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition

from service.watch.frame import WatchedFrame


class Backlog:
    """Holds a bounded number of frames.

    If it is full, the oldest frame of a live source is dropped; any other source waits.

    Args:
        size: most frames, >= 1.
        live: whether the source is live.

    Attributes:
        read: frames that were put in.
        dropped: frames that were dropped.
    """

    def __init__(self, size: int, *, live: bool) -> None:
        self.read = 0
        self.dropped = 0
        self._size = size
        self._live = live
        self._frames: deque[WatchedFrame] = deque()
        self._changed = Condition()
        self._ended = False

    def put(self, frame: WatchedFrame) -> None:
        """Add a frame. Nothing is added once the backlog has ended."""
        with self._changed:
            while not self._live and len(self._frames) >= self._size and not self._ended:
                self._changed.wait()
            if self._ended:
                return
            self.read += 1
            self._frames.append(frame)
            if len(self._frames) > self._size:
                self._frames.popleft()
                self.dropped += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no frame follows; those that wait can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self, most: int, seconds: float) -> list[WatchedFrame] | None:
        """Take the oldest frames.

        Args:
            most: take at most so many, >= 1.
            seconds: how long to wait for the first one.

        Returns:
            The frames, none if nothing came in time; None if none will come.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._frames and not self._ended:
                left = deadline - time.monotonic()
                if left <= 0.0:
                    return []
                self._changed.wait(left)
            if not self._frames:
                return None
            taken = [self._frames.popleft() for _ in range(min(most, len(self._frames)))]
            self._changed.notify_all()
            return taken
