"""What the images of a search give to search for: crops, or the persons on whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.api.boxes import PersonRecord
from service.api.search import QueryImage
from service.detection.person_cutter import PeopledFrame, PersonPicture
from service.embedding.encoded_image import EncodedImage
from service.errors import ReidError
from service.http.records import box_record, quality_record
from service.search.shots import QueryPicture


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture of the request to search for.

    Attributes:
        image: the image of the request.
        picture: what is searched for.
        person: where it was on the image, if that is a frame.
    """

    image: QueryImage
    picture: QueryPicture
    person: PersonRecord | None = None


def asked_crops(uploads: Sequence[EncodedImage]) -> list[Asked]:
    """Search for each image as it is.

    Args:
        uploads: N image files.

    Returns:
        N pictures.
    """
    return [
        Asked(QueryImage(index=index, file=upload.file), QueryPicture(upload, _name(index, upload)))
        for index, upload in enumerate(uploads)
    ]


def asked_persons(
    uploads: Sequence[EncodedImage], frames: Sequence[PeopledFrame | ReidError]
) -> list[Asked]:
    """Search for each person on frames.

    Args:
        uploads: N image files.
        frames: the persons on each of them, or the error of that file.

    Returns:
        In the order of the files: one picture per person, and one for each frame without persons.
    """
    return [
        asked
        for index, (upload, frame) in enumerate(zip(uploads, frames, strict=True))
        for asked in _of_frame(index, upload, frame)
    ]


def _of_frame(index: int, upload: EncodedImage, frame: PeopledFrame | ReidError) -> list[Asked]:
    image, name = QueryImage(index=index, file=upload.file), _name(index, upload)
    if isinstance(frame, ReidError):
        return [Asked(image, QueryPicture(frame, name))]
    if not frame.persons:
        return [Asked(image, QueryPicture(None, name))]
    return [
        Asked(
            image,
            QueryPicture(person.picture, f"person {number} of {name}", of_frame=True),
            _record(person),
        )
        for number, person in enumerate(frame.persons, start=1)
    ]


def _name(index: int, upload: EncodedImage) -> str:
    return f"image {index} ({upload.file})"


def _record(picture: PersonPicture) -> PersonRecord | None:
    person = picture.person
    if person.score is None:
        return None
    return PersonRecord(
        box=box_record(person.box), score=person.score, quality=quality_record(picture.quality)
    )
