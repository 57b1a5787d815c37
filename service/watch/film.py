"""The frames of a video file; needs the extra ``video``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from service.errors import InvalidInput
from service.video.decoding import VideoLimits, open_video
from service.video.sampling import Sampler
from service.watch.frame import WatchedFrame


@dataclass(frozen=True, slots=True)
class Film:
    """A video file.

    Attributes:
        path: the file.
        fps: frames per second to send.
        start: when its first frame was taken, in seconds since 1970-01-01 UTC, if known.
        pixels: most pixels of a frame.
    """

    path: Path
    fps: float
    start: float | None
    pixels: int
    live = False
    reconnects = 0

    @property
    def track_prefix(self) -> str:
        """The name of the file, so that it gives its tracks the same names again."""
        return f"{self.path.name}-"

    def frames(self, stop: Event) -> Iterator[WatchedFrame]:
        """Read the file; a frame is called ``FILE/000451``, as in an import."""
        sampler = Sampler(self.fps)
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror}") from error
        try:
            with file, open_video(file, VideoLimits(self.pixels)) as video:
                for frame in video.frames():
                    if stop.is_set():
                        return
                    if sampler.takes(frame.seconds):
                        frame_id = f"{self.path.name}/{frame.number:06}"
                        timestamp = None if self.start is None else self.start + frame.seconds
                        yield WatchedFrame(frame_id, frame.jpeg(), frame.seconds, timestamp)
        except InvalidInput as error:
            raise InvalidInput(f"{self.path}: {error}") from error
