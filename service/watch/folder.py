"""Frames that a camera or another program writes into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from service.ingest.picture_files import SUFFIXES, not_data
from service.video.sampling import Sampler
from service.watch.frame import WatchedFrame

_LOOKS = 0.5  # seconds between two looks at the folder

State = tuple[int, int]
"""Time of the last change in nanoseconds, and size in bytes."""


@dataclass(slots=True)
class Folder:
    """A folder of image files, with its subfolders.

    Attributes:
        path: the folder.
        camera: begins the ids of the frames.
        fps: frames per second of their times to send; all if None.
        once: end when all files that are there have been read, instead of waiting for more.
        pause: seconds between two looks.
    """

    path: Path
    camera: str
    fps: float | None = None
    once: bool = False
    pause: float = _LOOKS
    live = False
    reconnects = 0
    track_prefix = None
    _before: dict[Path, State] = field(default_factory=dict)
    _read: dict[Path, State] = field(default_factory=dict)

    def frames(self, stop: Event) -> Iterator[WatchedFrame]:
        """Read every file once, and again if it changes; its time is that of its last change.

        A file is read when it has not changed between two looks, because a program may still be
        writing it.
        """
        sampler = None if self.fps is None else Sampler(self.fps)
        self._before = self._look()
        while not stop.wait(self.pause):
            now = self._look()
            ready = {path for path, state in now.items() if self._before.get(path) == state}
            new = [path for path in ready if self._read.get(path) != now[path]]
            for path in sorted(new, key=lambda path: (now[path][0], path)):
                if sampler is None or sampler.takes(now[path][0] / 1e9):
                    yield from self._frame(path, now[path])
            self._read = {path: now[path] for path in ready}
            self._before = now
            if self.once and len(ready) == len(now):
                return

    def _look(self) -> dict[Path, State]:
        found: dict[Path, State] = {}
        for path in self.path.rglob("*"):
            parts = path.relative_to(self.path).parts
            if path.suffix.lower() not in SUFFIXES or any(map(not_data, parts)):
                continue
            try:
                state = path.stat()
            except OSError:  # it was removed in the meantime
                continue
            found[path] = state.st_mtime_ns, state.st_size
        return found

    def _frame(self, path: Path, state: State) -> Iterator[WatchedFrame]:
        try:
            data = path.read_bytes()
        except OSError:
            return
        seconds = state[0] / 1e9
        frame_id = f"{self.camera}/{path.relative_to(self.path).as_posix()}"
        yield WatchedFrame(frame_id, data, seconds, seconds)
