"""Find the persons on the frames of an import; from there on each is a picture like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import PeopledFrame
from service.embedding.encoded_image import EncodedImage
from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.items import Items, Picture, Storable, WholeFrame
from service.ingest.frame_enroller import SentFrame
from service.jobs.context import JobContext
from service.tracking.keeping import Keeper, KeepingOptions, Sight
from service.tracking.thinning import Kept

_VIEWS = 8  # pictures of frames that the detector sees in one run


@dataclass(frozen=True, slots=True)
class LookingOptions:
    """How frames are looked at.

    Attributes:
        frames: how the detector sees them.
        keeping: which pictures of a person are kept; None to keep all.
    """

    frames: FrameOptions
    keeping: KeepingOptions | None = None


class PersonFinder:
    """Replaces the frames among items by the persons on them.

    Args:
        context: the job, which counts every frame and notes why one failed.
        options: how to look at frames.
        more: called with the number of persons on each frame.
    """

    def __init__(
        self, context: JobContext, options: LookingOptions, more: Callable[[int], object]
    ) -> None:
        self._context = context
        self._frames = options.frames
        self._keeping = options.keeping
        if options.keeping is not None:  # the doubtful ones help to follow the others
            self._frames = replace(options.frames, score=options.keeping.lowest)
        self._more = more
        self._video: _Video | None = None

    def pictures(self, items: Items) -> Iterator[Storable]:
        """Find the persons.

        Args:
            items: the items of an import.

        Yields:
            The items in their order; instead of frames, pictures of the persons on them.

        Raises:
            ReidError: the source cannot be read any further, or the service cannot detect.
            Interrupted: the job has to end; do not catch it.
        """
        at_once = max(1, _VIEWS // self._frames.grid.views)
        failure: ReidError | None = None
        try:
            for group in _grouped(items, at_once):
                if isinstance(group, list):
                    yield from self._on(group)
                else:
                    yield group
        except ReidError as error:
            failure = error  # the persons before it are sound
        yield from self._finished()
        if failure is not None:
            raise failure

    def _on(self, frames: Sequence[WholeFrame]) -> Iterator[Picture]:
        self._context.raise_if_cancelled()
        for frame, seen in zip(frames, self._seen(frames), strict=True):
            if isinstance(seen, ReidError):
                self._context.fail(frame.name, str(seen))
                continue
            self._context.count("frames")
            if self._keeping is None:
                self._more(len(seen.persons))
                yield from _persons(frame, seen)
            else:
                yield from self._followed(frame, seen, self._keeping)

    def _seen(self, frames: Sequence[WholeFrame]) -> list[PeopledFrame | ReidError]:
        try:
            return self._context.find_persons(
                [EncodedImage(frame.name, frame.data) for frame in frames], self._frames
            )
        except (InvalidInput, TooLarge) as error:
            if len(frames) == 1:
                return [error]
        # Too many persons for one request: each frame by itself may hold as many.
        return [self._seen([frame])[0] for frame in frames]

    def _followed(
        self, frame: WholeFrame, seen: PeopledFrame, options: KeepingOptions
    ) -> Iterator[Picture]:
        if self._video is None or self._video.video_id != frame.video_id:
            yield from self._finished()
            self._video = _Video(frame.video_id, Keeper(f"{frame.video_id}-", options))
        video = self._video
        sights = [
            Sight(picture, person.person.box, person.person.score or 0.0, person.quality)
            for picture, person in zip(_persons(frame, seen), seen.persons, strict=True)
        ]
        self._more(video.keeper.count(sights))
        kept = video.keeper.see(frame.seconds, sights)
        self._count_dropped(video)
        yield from map(_tracked, kept)

    def _finished(self) -> Iterator[Picture]:
        """The persons of the video before who were held back."""
        if self._video is not None:
            kept = self._video.keeper.finish()
            self._count_dropped(self._video)
            self._video = None
            yield from map(_tracked, kept)

    def _count_dropped(self, video: _Video) -> None:
        if more := video.keeper.dropped - video.dropped:
            video.dropped += more
            self._context.count("dropped", more)


@dataclass(slots=True)
class _Video:
    """The video whose persons are being followed."""

    video_id: str
    keeper: Keeper[Picture]
    dropped: int = 0


def _grouped(items: Items, most: int) -> Iterator[Storable | list[WholeFrame]]:
    """Gather frames that follow each other. What comes before a failure is not lost."""
    group: list[WholeFrame] = []
    failure: ReidError | None = None
    try:
        for item in items:
            if isinstance(item, WholeFrame):
                group.append(item)
                if len(group) < most:
                    continue
            if group:
                yield group
                group = []
            if not isinstance(item, WholeFrame):
                yield item
    except ReidError as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def _persons(frame: WholeFrame, seen: PeopledFrame) -> Iterator[Picture]:
    for number, person in enumerate(seen.persons, start=1):
        upload = person.picture
        sent = SentFrame(upload, frame.frame_id, frame.camera, frame.timestamp)
        yield Picture(f"{frame.name}, person {number}", sent.crop(number, None), upload.data)


def _tracked(kept: Kept[Picture]) -> Picture:
    return replace(kept.item, crop=replace(kept.item.crop, track=kept.track))
