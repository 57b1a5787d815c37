"""The options of a synthetic data set."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from service.errors import InvalidInput
from training.synthetic.bodies.knobs import Knobs

Kind = Literal["drawn", "bodies"]


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """What to make; equal options and library versions give the same files, byte for byte.

    Attributes:
        identities: number of people; identity k looks the same whatever the number.
        cameras: number of cameras, 2..99.
        crops: pictures per person and camera, at least 2, because one is the query.
        seed: another seed makes other people in other streets.
        train_share: share of the identities that go to ``bounding_box_train``; 1 for all of them.
        distractors: pictures of people who are never searched for (0000) in ``bounding_box_test``.
        junk: badly cropped pictures (-1) in ``bounding_box_test``, which an evaluation ignores.
        height: pixels of a picture, 32..512.
        width: pixels of a picture, 16..512.
        kind: ``drawn``, flat and quick, or ``bodies``, in three dimensions.
        views: cameras that see one person, drawn for each; 0 for all cameras.
        knobs: how hard pictures of bodies are; drawn people have no knobs.

    Raises:
        InvalidInput: a value breaks its rule.
    """

    identities: int = 100
    cameras: int = 3
    crops: int = 4
    seed: int = 0
    train_share: float = 0.5
    distractors: int = 0
    junk: int = 0
    height: int = 128
    width: int = 64
    kind: Kind = "drawn"
    views: int = 0
    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        """Check every value."""
        check_ranges(
            self,
            identities=(2, 1_000_000),
            cameras=(2, 99),
            crops=(2, 1000),
            seed=(0, 2**63 - 1),
            distractors=(0, 1_000_000),
            junk=(0, 1_000_000),
            height=(32, 512),
            width=(16, 512),
        )
        if self.kind not in get_args(Kind):
            raise InvalidInput(f"kind is {self.kind!r}, must be one of {', '.join(get_args(Kind))}")
        if not 0.0 < self.train_share <= 1.0:  # False for NaN as well
            raise InvalidInput(f"train_share is {self.train_share}, must be above 0 and at most 1")
        if self.views != 0 and not 2 <= self.views <= self.cameras:
            raise InvalidInput(
                f"views is {self.views}, must be 0 (all) or 2..{self.cameras} (the cameras)"
            )
        if self.kind == "drawn" and self.knobs != Knobs():
            raise InvalidInput("drawn people have no knobs; use kind = bodies")

    @property
    def train_identities(self) -> int:
        """Number of identities for training: at least one, and not all unless asked for."""
        if self.train_share == 1.0:
            return self.identities
        wanted = math.floor(self.identities * self.train_share + 0.5)
        return min(self.identities - 1, max(1, wanted))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a crop, pixels."""
        return self.height, self.width


def check_ranges(options: object, **ranges: tuple[int, int]) -> None:
    """Check options that have a lowest and a highest value.

    Args:
        options: what has them as attributes.
        ranges: by attribute, both values included.

    Raises:
        InvalidInput: a value is out of its range, or NaN.
    """
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not low <= value <= high:  # true for NaN as well
            raise InvalidInput(f"{name} is {value}, must be {low}..{high}")
