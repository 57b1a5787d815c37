"""Follow the persons of the camera, and send only the best few pictures of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from service.api.boxes import PersonRecord
from service.api.detection import FrameEntry
from service.client import FrameBox, NewFrame
from service.tracking.keeping import Keeper, KeepingOptions, Sight
from service.tracking.thinning import Kept
from service.tracking.tracker import prefix_of
from service.values.boxes import Box
from service.values.quality import Quality
from service.watch.frame import WatchedFrame
from service.watch.sending import OF_A_FRAME, Receiver
from service.watch.tally import Tally

_AT_ONCE = 8  # frames per request

Observe = Callable[[WatchedFrame, Sequence[Sight["Shot"]], Sequence[str | None]], object]
"""Takes a frame, the persons on it, and the name of the track of each."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A person on a frame.

    Attributes:
        frame: the frame.
        box: where.
    """

    frame: WatchedFrame
    box: FrameBox


class FollowingSender:
    """Has persons found by the service, follows them here, and has the chosen ones stored.

    Args:
        receiver: the service.
        options: what is kept.
        prefix: begins the names of the tracks; made of the time of the first frame if None.
        tally: counts.
        complain: called with the id of a frame that cannot be used, and why.
        observe: called with each frame and whom it shows, by those who measure.
    """

    def __init__(
        self,
        receiver: Receiver,
        options: KeepingOptions,
        prefix: str | None,
        tally: Tally,
        complain: Callable[[str, str], object],
        *,
        observe: Observe | None = None,
    ) -> None:
        self._receiver = receiver
        self._options = options
        self._prefix = prefix
        self._tally = tally
        self._complain = complain
        self._observe = observe
        self._keeper: Keeper[Shot] | None = None

    def send(self, frames: Sequence[WatchedFrame]) -> None:
        """Look at frames, and send the pictures that are decided; bad frames fail alone."""
        for frame, entry in zip(frames, self._looked_at(frames), strict=True):
            if entry is not None:
                self._follow(frame, entry)

    def finish(self) -> None:
        """Send the pictures that are left."""
        if self._keeper is not None:
            self._store(self._keeper, self._keeper.finish())

    def _looked_at(self, frames: Sequence[WatchedFrame]) -> list[FrameEntry | None]:
        """What is on each frame; None for those that cannot be used."""
        try:
            found = self._receiver.insist(lambda: self._detected(frames))
        except OF_A_FRAME as error:
            if len(frames) > 1:
                return [entry for frame in frames for entry in self._looked_at([frame])]
            self._fail(frames[0], str(error))
            return [None]
        return [self._usable(frame, entry) for frame, entry in zip(frames, found, strict=True)]

    def _detected(self, frames: Sequence[WatchedFrame]) -> list[FrameEntry]:
        images = [(frame.frame_id, frame.data) for frame in frames]
        tiles, score = self._receiver.where.tiles, self._options.lowest
        return self._receiver.client.detect(images, tiles=tiles, score=score).results

    def _usable(self, frame: WatchedFrame, entry: FrameEntry) -> FrameEntry | None:
        if entry.error is None:
            self._tally.frames_sent += 1
            return entry
        self._fail(frame, entry.error.detail)
        return None

    def _follow(self, frame: WatchedFrame, entry: FrameEntry) -> None:
        if self._keeper is None:
            prefix = prefix_of(frame.seconds) if self._prefix is None else self._prefix
            self._keeper = Keeper(prefix, self._options)
        sights = [_sight_of(frame, person) for person in entry.persons]
        kept = self._keeper.see(frame.seconds, sights)
        if self._observe is not None:
            self._observe(frame, sights, self._keeper.names)
        self._store(self._keeper, kept)

    def _store(self, keeper: Keeper[Shot], kept: Sequence[Kept[Shot]]) -> None:
        for begin in range(0, len(kept), _AT_ONCE):
            part = kept[begin : begin + _AT_ONCE]
            self._receiver.insist(partial(self._stored, part))
        self._tally.persons_dropped = keeper.dropped

    def _stored(self, kept: Sequence[Kept[Shot]]) -> None:
        where = self._receiver.where
        answer = self._receiver.client.crops.add_frames(
            where.gallery,
            [_frame_of(one) for one in kept],
            camera=where.camera,
            boxes=[[replace(one.item.box, track=one.track)] for one in kept],
        )
        persons = [person for frame in answer.results for person in frame.persons]
        self._tally.persons_stored += sum(
            person.status in {"created", "replaced"} for person in persons
        )

    def _fail(self, frame: WatchedFrame, reason: str) -> None:
        self._tally.frames_failed += 1
        self._complain(frame.frame_id, reason)


def _sight_of(frame: WatchedFrame, person: PersonRecord) -> Sight[Shot]:
    box, score, seen = person.box, person.score, person.quality
    shot = Shot(frame, FrameBox(x=box.x, y=box.y, width=box.width, height=box.height, score=score))
    place = Box(box.x, box.y, box.width, box.height)
    quality = Quality(box.height, seen.sharpness, seen.cut_off, seen.covered, score)
    return Sight(shot, place, score, quality)


def _frame_of(kept: Kept[Shot]) -> NewFrame:
    """The frame of a picture; the number of the track keeps the persons of one frame apart."""
    frame, number = kept.item.frame, kept.track.rpartition("-")[2]
    return NewFrame(
        image=(frame.frame_id, frame.data),
        frame_id=f"{frame.frame_id}/{number}",
        timestamp=frame.timestamp,
    )
