"""The options of scenes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from service.errors import InvalidInput
from training.synthetic.bodies.knobs import Knobs
from training.synthetic.bodies.site import Site
from training.synthetic.options import check_ranges


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What to film; equal options and library versions give the same files, byte for byte.

    Attributes:
        identities: people who live at the site, 1..100,000; identity k looks as in
            ``synthesize --kind bodies`` with the same seed.
        cameras: number of cameras, 1..99; all film the same period.
        seconds: length of the period, above 0, at most 3,600.
        fps: frames per second, 1..30.
        people_per_minute: mean number of people who enter each camera's view per minute, 0..120.
        height: of a frame in pixels, 48..2160.
        width: of a frame in pixels, 64..3840, at least the height.
        seed: another seed films other people in other streets.
        start: ISO 8601 time of the first frame, with a zone.
        knobs: how hard the pictures are; scenes have no supersampling.

    Raises:
        InvalidInput: a value breaks its rule.
    """

    identities: int = 80
    cameras: int = 3
    seconds: float = 60.0
    fps: int = 10
    people_per_minute: float = 20.0
    height: int = 540
    width: int = 960
    seed: int = 0
    start: str = "2026-01-05T12:00:00Z"
    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges(
            self,
            identities=(1, 100_000),
            cameras=(1, 99),
            fps=(1, 30),
            people_per_minute=(0, 120),
            height=(48, 2160),
            width=(64, 3840),
            seed=(0, 2**63 - 1),
        )
        if not 0.0 < self.seconds <= 3600.0:
            raise InvalidInput(f"seconds is {self.seconds}, must be above 0 and at most 3600")
        if self.width < self.height:
            raise InvalidInput(f"width is {self.width}, must be at least the height, {self.height}")
        if self.knobs.supersampling != 1:
            raise InvalidInput(f"supersampling is {self.knobs.supersampling}, must be 1 in scenes")
        _parse_start(self.start)

    @property
    def frames(self) -> int:
        """Number of frames per camera, at least 1."""
        return max(1, round(self.seconds * self.fps))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame, pixels."""
        return self.height, self.width

    @property
    def site(self) -> Site:
        """The site that is filmed."""
        return Site(self.seed, self.cameras, self.knobs)

    def second_of(self, frame: int) -> float:
        """When a frame is taken.

        Args:
            frame: from 1.

        Returns:
            Seconds since the first frame, to the millisecond.
        """
        return round((frame - 1) / self.fps, 3)

    def time_of(self, frame: int) -> str:
        """When a frame is taken, as a date and a time.

        Args:
            frame: from 1.

        Returns:
            ISO 8601 in UTC, to the millisecond.
        """
        time = _parse_start(self.start) + timedelta(seconds=self.second_of(frame))
        return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_start(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"start is {text!r}, must be a time such as 2026-01-05T12:00Z"
        ) from error
    if time.tzinfo is None:
        raise InvalidInput(f"start is {text!r}, must name its zone, such as 2026-01-05T12:00Z")
    if not 1970 <= time.year < 9999:
        raise InvalidInput(f"start is {text!r}, must be in the years 1970 to 9998")
    return time
