"""Find the persons on the frames of an import; from there on each is a picture like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import PeopledFrame
from service.embedding.encoded_image import EncodedImage
from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.items import Items, Picture, Storable, WholeFrame
from service.ingest.frame_enroller import SentFrame
from service.jobs.context import JobContext

_VIEWS = 8  # pictures of frames that the detector sees in one run


@dataclass(frozen=True, slots=True)
class PersonFinder:
    """Replaces the frames among items by the persons on them.

    Attributes:
        context: the job, which counts every frame and notes why one failed.
        options: how to look at frames.
        more: called with the number of persons on each frame.
    """

    context: JobContext
    options: FrameOptions
    more: Callable[[int], object]

    def pictures(self, items: Items) -> Iterator[Storable]:
        """Find the persons.

        Args:
            items: the items of an import.

        Yields:
            The items in their order; instead of a frame, a picture of each person on it.

        Raises:
            ReidError: the source cannot be read any further, or the service cannot detect.
            Interrupted: the job has to end; do not catch it.
        """
        at_once = max(1, _VIEWS // self.options.grid.views)
        for group in _grouped(items, at_once):
            if isinstance(group, list):
                yield from self._on(group)
            else:
                yield group

    def _on(self, frames: Sequence[WholeFrame]) -> Iterator[Picture]:
        self.context.raise_if_cancelled()
        for frame, seen in zip(frames, self._seen(frames), strict=True):
            if isinstance(seen, ReidError):
                self.context.fail(frame.name, str(seen))
                continue
            self.more(len(seen.persons))
            self.context.count("frames")
            yield from _persons(frame, seen)

    def _seen(self, frames: Sequence[WholeFrame]) -> list[PeopledFrame | ReidError]:
        try:
            return self.context.find_persons(
                [EncodedImage(frame.name, frame.data) for frame in frames], self.options
            )
        except (InvalidInput, TooLarge) as error:
            if len(frames) == 1:
                return [error]
        # Too many persons for one request: each frame by itself may hold as many.
        return [self._seen([frame])[0] for frame in frames]


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
