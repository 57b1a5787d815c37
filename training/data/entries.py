"""What the listing of a data set yields: one entry per file or row, usable or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import InvalidInput
from service.ingest.picture_files import SUFFIXES, UNREAD, VIDEOS, not_a_picture, walk
from service.ingest.picture_files import LeftOut as Unused

Split = Literal["train", "query", "gallery"]

IMAGE_SUFFIXES = tuple(sorted(SUFFIXES))
ONLY_CAMERA = "0"
"""The camera of files whose names give none."""


class DataError(InvalidInput):
    """A data set breaks a rule; the message names the file and the rule."""

    code = "invalid_data"
    title = "Unusable data set"


@dataclass(frozen=True, slots=True)
class Record:
    """A usable file, as its name or its manifest row describes it.

    Attributes:
        path: the image file.
        name: path relative to the data set's root, with forward slashes; samples are sorted by it.
        split: which part of the data set it belongs to.
        identity: a number if the layout counts people, a text if it names them, None if it does
            not say.
        camera: the camera's name.
        track: name of the crop's track among the camera's; None if it is not known.
        frame: name of the frame that it was cut from, among the camera's; None if it is not known.
    """

    path: Path
    name: str
    split: Split
    identity: int | str | None
    camera: str
    track: str | None = None
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that breaks a rule, and which rule."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that the data set's own convention excludes."""

    reason: str


Entry = Record | Skipped | LeftOut

NOT_AN_IMAGE = LeftOut(f"not an image file ({' '.join(IMAGE_SUFFIXES)})")


def describe_skipped(skipped: Sequence[Skipped]) -> list[str]:
    """List skipped files for people: one line per file, then their number.

    Args:
        skipped: the files.

    Returns:
        The lines; none if nothing was skipped.
    """
    lines = [f"skipped: {entry.path}: {entry.reason}" for entry in skipped]
    return [*lines, f"skipped in total: {len(lines)}"] if lines else []


def unused_file(path: Path) -> LeftOut | None:
    """Say why a file's name rules it out as a picture; None if it does not."""
    judged = not_a_picture(path.name)
    if judged is None:
        return None
    return NOT_AN_IMAGE if judged.is_other else LeftOut(judged.reason)


def files_below(root: Path) -> Iterator[Path | Skipped | LeftOut]:
    """List every file below a folder, by the same rules as the service's imports.

    Links to folders are followed, even out of the folder; hidden and generated folders are left
    out.

    Args:
        root: the folder.

    Yields:
        The path of a picture file, or why a file is not used. Files left out for the same reason
        share one text, with an example.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: No such file or directory, or not a folder")
    texts: dict[str, str] = {}
    for entry in walk(root):
        match entry:
            case Path():
                yield entry
            case Unused(is_other=True):
                yield NOT_AN_IMAGE
            case Unused(path, reason, is_error=True) if path.suffix.lower() not in UNREAD | VIDEOS:
                yield Skipped(path, reason)
            case Unused(path, reason):
                example = path.relative_to(root).as_posix()
                yield LeftOut(texts.setdefault(reason, f"{reason}, such as {example}"))
