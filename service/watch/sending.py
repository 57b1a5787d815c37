"""Send frames to the service, which finds the persons on them and stores the crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from service.api.frames import FilledFrame
from service.client import (
    Client,
    ImageTooLarge,
    InvalidInput,
    NewFrame,
    Overloaded,
    ServiceError,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unavailable,
    Unreachable,
)
from service.watch.frame import WatchedFrame
from service.watch.tally import Tally

T = TypeVar("T")

_PASSING = (Unreachable, Unavailable, Overloaded, TooManyRequests, StorageFull)
OF_A_FRAME = (InvalidInput, TooLarge, ImageTooLarge)
"""Failures of a single frame; the next one may be sent."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where the persons go, and how they are found.

    Attributes:
        gallery: an existing gallery.
        camera: that took the frames.
        tiles: look at overlapping tiles of each frame too, such as ``2x2``.
        score: persons have a score above it; the detector's if None.
    """

    gallery: str
    camera: str
    tiles: str | None = None
    score: float | None = None


class Sender(Protocol):
    """What becomes of frames."""

    def send(self, frames: Sequence[WatchedFrame]) -> None:
        """Send frames, in their order; those that fail are counted. Raises ServiceError."""
        ...

    def finish(self) -> None:
        """Send what was held back, because no frame follows. Raises ServiceError."""
        ...


class Patience:
    """Repeats what fails for a reason that may pass, as long as that makes sense.

    The client has repeated it for a minute before.

    Args:
        forever: whether to go on after that, as for a camera that cannot be asked again.
        wait: called with the failure before each repetition; returns whether to go on.
    """

    def __init__(self, *, forever: bool, wait: Callable[[ServiceError], bool]) -> None:
        self._forever = forever
        self._wait = wait

    def __call__(self, action: Callable[[], T]) -> T:
        """Call a function until it succeeds. Raises ServiceError."""
        while True:
            try:
                return action()
            except _PASSING as error:
                if not self._forever or not self._wait(error):
                    raise


@dataclass(frozen=True, slots=True)
class Receiver:
    """The service that receives the frames.

    Attributes:
        client: asks it.
        where: where the persons go.
        insist: repeats requests.
    """

    client: Client
    where: Where
    insist: Patience


class PlainSender:
    """Has every person on every frame stored.

    Args:
        receiver: the service.
        tally: counts.
        complain: called with the id of a frame that cannot be used, and why.
    """

    def __init__(
        self, receiver: Receiver, tally: Tally, complain: Callable[[str, str], object]
    ) -> None:
        self._receiver = receiver
        self._tally = tally
        self._complain = complain

    def send(self, frames: Sequence[WatchedFrame]) -> None:
        """Send frames; one that cannot be used does not affect the others."""
        try:
            results = self._receiver.insist(lambda: self._results(frames))
        except OF_A_FRAME as error:
            if len(frames) > 1:
                for frame in frames:
                    self.send([frame])
                return
            self._fail(frames[0].frame_id, str(error))
            return
        for result in results:
            self._count(result)

    def finish(self) -> None:
        """Nothing was held back."""

    def _results(self, frames: Sequence[WatchedFrame]) -> list[FilledFrame]:
        where = self._receiver.where
        sent = [
            NewFrame(
                image=(frame.frame_id, frame.data),
                frame_id=frame.frame_id,
                timestamp=frame.timestamp,
            )
            for frame in frames
        ]
        answer = self._receiver.client.crops.add_frames(
            where.gallery, sent, camera=where.camera, tiles=where.tiles, score=where.score
        )
        return answer.results

    def _count(self, frame: FilledFrame) -> None:
        if frame.error is not None:
            self._fail(frame.frame_id, frame.error.detail)
            return
        stored = sum(person.status in {"created", "replaced"} for person in frame.persons)
        self._tally.frames_sent += 1
        self._tally.persons_stored += stored
        self._tally.persons_dropped += len(frame.persons) - stored

    def _fail(self, frame_id: str, reason: str) -> None:
        self._tally.frames_failed += 1
        self._complain(frame_id, reason)
