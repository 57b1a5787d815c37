"""The truth about the people on films, and how well they were found and followed."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import InvalidInput
from service.tracking.scoring import Following, Scene, hits, score
from service.values.boxes import Box

VISIBLE = 0.25
"""Whoever is seen less need not be found."""

FILE = "truth.csv"

Track = tuple[str, str]
"""A camera, and the name of a track in it."""


@dataclass(frozen=True, slots=True)
class TruePerson:
    """A person on a frame.

    Attributes:
        track: of the camera, by the truth.
        identity: who it is.
        box: in pixels of the frame.
        visibility: share of the person that is seen, 0..1.
    """

    track: str
    identity: str
    box: Box
    visibility: float


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A frame that was looked at.

    Attributes:
        camera: that took it.
        number: of the frame in its film, from 1.
        found: the boxes of the persons that were found.
        named: the boxes that belong to a track, by its name.
    """

    camera: str
    number: int
    found: Sequence[Box]
    named: Mapping[str, Box]


@dataclass(frozen=True, slots=True)
class Scores:
    """How well the people of a camera were found and followed.

    Attributes:
        frames: that were looked at.
        people: on these frames, of those who are seen well enough.
        found: of them.
        following: how well they were followed.
    """

    frames: int
    people: int
    found: int
    following: Following


@dataclass(frozen=True, slots=True)
class Truth:
    """Who is on which frame."""

    people: Mapping[tuple[str, int], Sequence[TruePerson]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Truth | None:
        """Read the truth beside films.

        Args:
            file: a CSV file; the one of the shipped films shows its columns.

        Returns:
            The truth; None if there is no such file.

        Raises:
            InvalidInput: the file cannot be read, or a value is missing.
        """
        people: dict[tuple[str, int], list[TruePerson]] = defaultdict(list)
        try:
            with file.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    people[row["camera"], int(row["frame"])].append(_person(row))
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{file}: not a list of true persons ({error!r})") from error
        return cls(people)

    def scores(self, frames: Sequence[LookedAt]) -> Scores:
        """Compare what was found and followed on frames of one camera, in their order."""
        people = found = 0
        scenes: list[Scene] = []
        for frame in frames:
            seen = self._visible(frame)
            people += len(seen)
            found += len(hits([one.box for one in seen], frame.found))
            scenes.append(Scene({one.track: one.box for one in seen}, frame.named))
        return Scores(len(frames), people, found, score(scenes))

    def identities(self, frames: Sequence[LookedAt]) -> dict[Track, str]:
        """Who is on most frames of each track.

        Args:
            frames: of any cameras.

        Returns:
            The identity of each track; a track that is on nobody is missing.
        """
        votes: dict[Track, Counter[str]] = defaultdict(Counter)
        for frame in frames:
            seen, names = self._visible(frame), list(frame.named)
            for theirs, ours in hits([one.box for one in seen], list(frame.named.values())):
                votes[frame.camera, names[ours]][seen[theirs].identity] += 1
        return {track: counts.most_common(1)[0][0] for track, counts in votes.items()}

    def _visible(self, frame: LookedAt) -> list[TruePerson]:
        people = self.people.get((frame.camera, frame.number), ())
        return [person for person in people if person.visibility >= VISIBLE]


def _person(row: Mapping[str, str]) -> TruePerson:
    left, top, width, height = (float(row[side]) for side in ("left", "top", "width", "height"))
    box = Box(left, top, width, height)
    return TruePerson(row["track"], row["identity"], box, float(row["visibility"]))
