"""From frames to a picture of each person on them: find, or take the caller's boxes, and cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.detection.cutting import CutFrame, MarkedPerson, Room, cut, judge
from service.detection.detection import Detection
from service.detection.frame_intake import FrameOptions, SeenFrame
from service.detection.frames import Person
from service.embedding.decoding import Decoders
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits
from service.errors import InvalidInput, ReidError, TooLarge
from service.machine.stopwatch import Stopwatch
from service.values.boxes import Box
from service.values.frame_ids import MAX_PERSONS
from service.values.quality import Quality

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PersonPicture:
    """A person that was cut out of a frame.

    Attributes:
        person: where.
        picture: the image file, named after the frame's.
        quality: how well it shows the person.
    """

    person: MarkedPerson
    picture: EncodedImage
    quality: Quality


@dataclass(frozen=True, slots=True)
class PeopledFrame:
    """The persons of a frame.

    Attributes:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        persons: in the order of the boxes; the detector's are the highest score first.
    """

    width: int
    height: int
    persons: list[PersonPicture]


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """The persons of a frame, and how well it shows them.

    Attributes:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        persons: the highest score first.
        qualities: one per person.
    """

    width: int
    height: int
    persons: list[Person]
    qualities: list[Quality]


@dataclass(frozen=True, slots=True)
class CutLimits:
    """What the frames of one request may hold: what a request with crops may hold.

    Attributes:
        pixels: that its boxes cover together.
        bytes: that its pictures have together.
    """

    pixels: int
    bytes: int


class PersonCutter:
    """Cuts the persons out of frames; an unusable file does not affect the others.

    Args:
        detection: finds the persons.
        decoders: decode the frames again to cut from them, so that no request keeps the pixels of
            all its frames.
        images: limits of an image file.
        limits: what one request may cost.
        longest: how long frames may wait until the first of them is decoded, in seconds.
    """

    def __init__(
        self,
        detection: Detection,
        decoders: Decoders,
        images: ImageLimits,
        limits: CutLimits,
        longest: float,
    ) -> None:
        self._detection = detection
        self._decoders = decoders
        self._images = images
        self._limits = limits
        self._longest = longest

    async def judge(
        self, uploads: Sequence[EncodedImage], options: FrameOptions, stopwatch: Stopwatch
    ) -> list[JudgedFrame | ReidError]:
        """Find the persons on frames and measure how well they are seen, without cutting them out.

        Args:
            uploads: N image files.
            options: how to look at them.
            stopwatch: measures the stages ``decode``, ``detect`` and ``judge``.

        Returns:
            N entries in the order of the files: the persons, or the error of that file.

        Raises:
            Overloaded: the frames would wait, or did wait, too long.
            TooLarge: there are too many frames.
            Unavailable: the detector failed or cannot be loaded, the service is shutting down, or
                the client has disconnected.
            Unsupported: the service has no detector.
        """
        intake = await self._detection.intake()
        seen = await intake.find(uploads, options, stopwatch)
        tasks = {
            index: partial(judge, uploads[index].data, persons, self._images)
            for index, persons in _marked(seen).items()
        }
        with stopwatch.stage("judge"):
            judged = await self._run(tasks)
        return [
            frame if isinstance(frame, ReidError) else _judged(frame, judged.get(index, []))
            for index, frame in enumerate(seen)
        ]

    def require(self) -> None:
        """Check that there is a detector. Raises Unsupported: the service has none."""
        self._detection.require()

    async def find(
        self, uploads: Sequence[EncodedImage], options: FrameOptions, stopwatch: Stopwatch
    ) -> list[PeopledFrame | ReidError]:
        """Find the persons on frames and cut them out.

        Args:
            uploads: N image files.
            options: how to look at them.
            stopwatch: measures the stages ``decode``, ``detect`` and ``cut``.

        Returns:
            N entries in the order of the files: the persons, or the error of that file.

        Raises:
            Overloaded: the frames would wait, or did wait, too long.
            TooLarge: there are too many frames, or too many persons on them.
            Unavailable: the detector failed or cannot be loaded, the service is shutting down, or
                the client has disconnected.
            Unsupported: the service has no detector.
        """
        intake = await self._detection.intake()
        seen = await intake.find(uploads, options, stopwatch)
        made = await self._cut(uploads, _marked(seen), stopwatch)
        return [
            frame
            if isinstance(frame, ReidError)
            else made.get(index, PeopledFrame(frame.width, frame.height, []))
            for index, frame in enumerate(seen)
        ]

    async def cut(
        self,
        uploads: Sequence[EncodedImage],
        marked: Sequence[Sequence[MarkedPerson]],
        stopwatch: Stopwatch,
    ) -> list[PeopledFrame | ReidError]:
        """Cut the persons that a caller marked out of frames.

        Args:
            uploads: N image files.
            marked: the persons on each of them.
            stopwatch: measures the stage ``cut``.

        Returns:
            N entries in the order of the files: the persons, or the error of that file.

        Raises:
            InvalidInput: a box reaches beyond its frame.
            Overloaded: the frames waited too long.
            TooLarge: there are too many persons.
            Unavailable: the client has disconnected.
        """
        made = await self._cut(uploads, dict(enumerate(marked)), stopwatch)
        return [made[index] for index in range(len(uploads))]

    def close(self) -> None:
        """Wait for frames that are being cut, then end the threads."""
        self._decoders.close()

    async def _cut(
        self,
        uploads: Sequence[EncodedImage],
        marked: Mapping[int, Sequence[MarkedPerson]],
        stopwatch: Stopwatch,
    ) -> dict[int, PeopledFrame | ReidError]:
        """Cut out of some of the files, which are named by their places."""
        self._require_few([person.box for persons in marked.values() for person in persons])
        room = Room(self._limits.bytes)
        tasks = {
            index: partial(cut, uploads[index].data, persons, f"boxes[{index}]", self._images, room)
            for index, persons in marked.items()
        }
        with stopwatch.stage("cut"):
            frames = await self._run(tasks)
        _raise_if_the_request_is_at_fault(list(frames.values()))
        return {
            index: frame
            if isinstance(frame, ReidError)
            else _peopled(frame, marked[index], uploads[index].file, index)
            for index, frame in frames.items()
        }

    async def _run(self, tasks: Mapping[int, Callable[[], T]]) -> dict[int, T | ReidError]:
        """Decode some of the files, which are named by their places."""
        done, _ = await self._decoders.run(list(tasks.values()), self._longest)
        return dict(zip(tasks, done, strict=True))

    def _require_few(self, boxes: Sequence[Box]) -> None:
        if len(boxes) > MAX_PERSONS:
            raise TooLarge(
                f"{len(boxes):,} persons: at most {MAX_PERSONS:,} are allowed in one request; send "
                "fewer frames per request"
            )
        # A box that is larger than any frame is rejected when its frame is known.
        largest = self._images.max_pixels
        pixels = sum(min(box.width * box.height, largest) for box in boxes)
        if pixels > self._limits.pixels:
            raise TooLarge(
                f"the boxes cover {pixels:,.0f} pixels together: at most {self._limits.pixels:,} "
                "are allowed in one request; send fewer frames per request"
            )


def _marked(seen: Sequence[SeenFrame | ReidError]) -> dict[int, list[MarkedPerson]]:
    """The persons of the frames that have any, by the places of the frames."""
    return {
        index: [MarkedPerson(person.box, person.score) for person in frame.persons]
        for index, frame in enumerate(seen)
        if not isinstance(frame, ReidError) and frame.persons
    }


def _judged(frame: SeenFrame, qualities: list[Quality] | ReidError) -> JudgedFrame | ReidError:
    if isinstance(qualities, ReidError):
        return qualities
    return JudgedFrame(frame.width, frame.height, frame.persons, qualities)


def _peopled(
    frame: CutFrame, persons: Sequence[MarkedPerson], file: str, number: int
) -> PeopledFrame:
    pictures = [
        PersonPicture(person, EncodedImage(file, picture, number), quality)
        for person, picture, quality in zip(persons, frame.pictures, frame.qualities, strict=True)
    ]
    return PeopledFrame(frame.width, frame.height, pictures)


def _raise_if_the_request_is_at_fault(frames: Sequence[object]) -> None:
    """Raise the first error that concerns more than its own file. Raises InvalidInput, TooLarge."""
    for frame in frames:
        # Errors about a file are subclasses of these two.
        if isinstance(frame, ReidError) and type(frame) in {InvalidInput, TooLarge}:
            raise frame
