"""Read frames and send them at the same time, until the source ends or somebody stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread

from service.watch.backlog import Backlog
from service.watch.frame import Source, WatchedFrame
from service.watch.sending import Sender
from service.watch.tally import Tally

_AT_ONCE = 8  # frames per request; the detector sees as many at a time
_WAITING = 64  # frames
_LOOKS = 0.25  # seconds between two looks whether a report is due

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Reports:
    """When to tell how far it is.

    Attributes:
        tell: is called with the counts.
        every: seconds between two calls.
    """

    tell: Callable[[Tally], object]
    every: float


class Watching:
    """One run.

    Args:
        source: the frames.
        sender: what becomes of them.
        tally: counts.
        reports: when to tell how far it is.
        size: most frames that wait to be sent.
    """

    def __init__(
        self,
        source: Source,
        sender: Sender,
        tally: Tally,
        reports: Reports,
        size: int = _WAITING,
    ) -> None:
        self._source = source
        self._sender = sender
        self._tally = tally
        self._reports = reports
        self._backlog = Backlog(size, live=source.live)
        self._stop = Event()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Watch until the source ends.

        Raises:
            ReidError: the source cannot be read any further; what came before was sent.
            ServiceError: the service rejected the frames, or cannot be reached.
            KeyboardInterrupt: somebody stopped it. What was held back was sent.
        """
        # A thread that waits for a camera cannot be interrupted; it must not keep the program.
        reader = Thread(target=self._read, name="source", daemon=True)
        reader.start()
        try:
            self._send_all()
        finally:
            self._stop.set()
            self._backlog.end()
        self._sender.finish()
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        try:
            for frame in self._source.frames(self._stop):
                self._backlog.put(frame)
        except Exception as error:  # noqa: BLE001 - raised again where the frames are sent
            self._failure = error
        finally:
            self._backlog.end()

    def _send_all(self) -> None:
        due = time.monotonic() + self._reports.every
        try:
            while (frames := self._backlog.take(_AT_ONCE, _LOOKS)) is not None:
                if frames:
                    self._sender.send(frames)
                    self._note(frames[-1])
                if time.monotonic() >= due:
                    due = time.monotonic() + self._reports.every
                    self._tell()
        except KeyboardInterrupt:
            self._sender.finish()
            raise

    def _note(self, last: WatchedFrame) -> None:
        if self._source.live and last.timestamp is not None:
            self._tally.lag_seconds = max(0.0, time.time() - last.timestamp)

    def _tell(self) -> None:
        self.settle()
        self._reports.tell(self._tally)

    def settle(self) -> Tally:
        """The counts, with those of the thread that reads."""
        self._tally.frames_read = self._backlog.read
        self._tally.frames_dropped = self._backlog.dropped
        self._tally.reconnects = self._source.reconnects
        return self._tally
