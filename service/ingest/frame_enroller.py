"""Add the persons on whole frames to a gallery: find → cut → embed → upsert.

What becomes of each crop is decided by :mod:`service.ingest.storing`, as for crops that are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.detection.cutting import MarkedPerson
from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import PeopledFrame, PersonCutter, PersonPicture
from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import require_one_usable
from service.errors import ReidError
from service.gallery.base import Crop
from service.ingest.enroller import Enroller
from service.ingest.storing import Enrolment
from service.machine.stopwatch import Stopwatch
from service.model.manifest import Manifest
from service.values.frame_ids import crop_id_on
from service.values.quality import Quality, Weakness


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A frame that a client sent.

    Attributes:
        upload: the image file.
        frame_id: begins the ids of its crops.
        camera: that took it, if known.
        timestamp: when it was taken, in seconds since 1970-01-01 UTC, if known.
    """

    upload: EncodedImage
    frame_id: str
    camera: str | None
    timestamp: float | None

    def crop(self, number: int, track: str | None) -> Crop:
        """The crop of its person of this number, from 1, before its identity is known."""
        crop_id = crop_id_on(self.frame_id, number)
        return Crop(crop_id, None, self.camera, self.timestamp, track=track)


@dataclass(frozen=True, slots=True)
class EnrolledPerson:
    """What became of a person on a frame.

    Attributes:
        person: where.
        quality: how well the frame shows the person.
        crop_id: the id of the crop.
        enrolment: how it is stored; None if it was dropped or only looked at.
        error: why it could not be used.
        dropped: why its quality is too low; None if it is not.
    """

    person: MarkedPerson
    quality: Quality
    crop_id: str
    enrolment: Enrolment | None = None
    error: ReidError | None = None
    dropped: Weakness | None = None


@dataclass(frozen=True, slots=True)
class EnrolledFrame:
    """What became of a frame.

    Attributes:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        persons: in the order of their numbers.
    """

    width: int
    height: int
    persons: list[EnrolledPerson]


@dataclass(frozen=True, slots=True)
class FramesOutcome:
    """What became of each frame, and the model that embedded the persons."""

    model: Manifest
    frames: list[EnrolledFrame | ReidError]


class FrameEnroller:
    """Adds the persons on frames to galleries.

    Args:
        cutter: finds the persons and cuts them out.
        enroller: stores them.
        at_once: most persons of one request that wait for the network at the same time.
    """

    def __init__(self, cutter: PersonCutter, enroller: Enroller, at_once: int) -> None:
        self._cutter = cutter
        self._enroller = enroller
        self._at_once = at_once

    async def enrol(
        self,
        gallery_name: str,
        frames: Sequence[SentFrame],
        persons: FrameOptions | Sequence[Sequence[MarkedPerson]],
        stopwatch: Stopwatch,
        client: str,
        *,
        min_quality: float = 0.0,
    ) -> FramesOutcome:
        """Insert or replace the crops of the persons on frames, all of them or none.

        An unusable frame or person does not affect the others.

        Args:
            gallery_name: an existing gallery.
            frames: N frames with different ids.
            persons: how to find the persons, or those on each frame.
            stopwatch: measures the stages decode, detect, cut, embed and upsert.
            client: the client to charge.
            min_quality: persons with a lower quality are dropped, 0..1.

        Returns:
            N frames in their order; the crops are durable.

        Raises:
            ReidError: as of :meth:`look`, or the disk refused the write.
        """
        seen = await self._see(gallery_name, frames, persons, stopwatch)
        people = _people(frames, seen, min_quality)
        kept = [one for one in people if one.dropped is None]
        outcome = await self._enroller.enrol(
            gallery_name,
            [one.picture for one in kept],
            [one.crop for one in kept],
            stopwatch,
            client,
            at_once=self._at_once,
        )
        enrolments = iter(outcome.enrolments)
        enrolled = [
            one.enrolled() if one.dropped else one.enrolled(next(enrolments)) for one in people
        ]
        return FramesOutcome(outcome.model, _by_frame(seen, enrolled))

    async def look(
        self,
        gallery_name: str,
        frames: Sequence[SentFrame],
        persons: FrameOptions | Sequence[Sequence[MarkedPerson]],
        stopwatch: Stopwatch,
        *,
        min_quality: float = 0.0,
    ) -> FramesOutcome:
        """Do everything that :meth:`enrol` does, except store the crops.

        Args:
            gallery_name: an existing gallery.
            frames: N frames with different ids.
            persons: how to find the persons, or those on each frame.
            stopwatch: measures the stages decode, detect, cut and embed.
            min_quality: persons with a lower quality are dropped, 0..1.

        Returns:
            N frames in their order.

        Raises:
            NotFound: no such gallery.
            ModelMismatch: the service does not have the gallery's model.
            InvalidInput: no frame is usable, or a box reaches beyond its frame.
            TooLarge: too many frames or persons.
            Unsupported: the service has no detector, and one is needed.
            Unavailable: a queue is full.
        """
        seen = await self._see(gallery_name, frames, persons, stopwatch)
        people = _people(frames, seen, min_quality)
        kept = [one.picture for one in people if one.dropped is None]
        model, embeddings = await self._enroller.embed(
            gallery_name, kept, stopwatch, at_once=self._at_once
        )
        errors = iter(entry if isinstance(entry, ReidError) else None for entry in embeddings)
        found = [
            one.enrolled() if one.dropped else one.enrolled(error=next(errors)) for one in people
        ]
        return FramesOutcome(model.manifest, _by_frame(seen, found))

    async def _see(
        self,
        gallery_name: str,
        frames: Sequence[SentFrame],
        persons: FrameOptions | Sequence[Sequence[MarkedPerson]],
        stopwatch: Stopwatch,
    ) -> list[PeopledFrame | ReidError]:
        await self._enroller.require(gallery_name)
        uploads = [frame.upload for frame in frames]
        if isinstance(persons, FrameOptions):
            seen = await self._cutter.find(uploads, persons, stopwatch)
        else:
            seen = await self._cutter.cut(uploads, persons, stopwatch)
        require_one_usable(uploads, seen)
        return seen


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A person on a usable frame, and the crop to store; ``dropped`` says why not."""

    cut: PersonPicture
    crop: Crop
    dropped: Weakness | None

    @property
    def picture(self) -> EncodedImage:
        return self.cut.picture

    def enrolled(
        self, enrolment: Enrolment | None = None, error: ReidError | None = None
    ) -> EnrolledPerson:
        """What became of the person."""
        if enrolment is not None:
            error = enrolment.error
        return EnrolledPerson(
            self.cut.person, self.cut.quality, self.crop.crop_id, enrolment, error, self.dropped
        )


def _people(
    frames: Sequence[SentFrame], seen: Sequence[PeopledFrame | ReidError], min_quality: float
) -> list[_Candidate]:
    """Every person of every usable frame, with the crop to store."""
    return [
        _Candidate(
            person,
            frame.crop(number, person.person.track),
            person.quality.weakness if person.quality.value < min_quality else None,
        )
        for frame, entry in zip(frames, seen, strict=True)
        if not isinstance(entry, ReidError)
        for number, person in enumerate(entry.persons, start=1)
    ]


def _by_frame(
    seen: Sequence[PeopledFrame | ReidError], people: Sequence[EnrolledPerson]
) -> list[EnrolledFrame | ReidError]:
    """Give each frame its persons back."""
    left = iter(people)
    return [
        entry
        if isinstance(entry, ReidError)
        else EnrolledFrame(entry.width, entry.height, [next(left) for _ in entry.persons])
        for entry in seen
    ]
