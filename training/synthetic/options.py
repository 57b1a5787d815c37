"""The options of a drawn data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """What to draw; equal options and library versions give the same files, byte for byte.

    Attributes:
        identities: number of people; identity k looks the same whatever the number.
        cameras: number of cameras, 2..9.
        crops: pictures per person and camera, at least 2, because one is the query.
        seed: another seed draws other people in other streets.
        train_share: share of the identities that go to ``bounding_box_train``.
        distractors: pictures of people who are never searched for (0000) in ``bounding_box_test``.
        junk: badly cropped pictures (-1) in ``bounding_box_test``, which an evaluation ignores.
        height: pixels of a picture, 32..512.
        width: pixels of a picture, 16..512.

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

    def __post_init__(self) -> None:
        """Check every value."""
        for name, low, high in (
            ("identities", 2, 1_000_000),
            ("cameras", 2, 9),
            ("crops", 2, 1000),
            ("seed", 0, 2**63 - 1),
            ("distractors", 0, 1_000_000),
            ("junk", 0, 1_000_000),
            ("height", 32, 512),
            ("width", 16, 512),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidInput(f"{name} is {value}, must be {low}..{high}")
        if not 0.0 < self.train_share < 1.0:  # False for NaN as well
            raise InvalidInput(f"train_share is {self.train_share}, must be between 0 and 1")

    @property
    def train_identities(self) -> int:
        """Number of identities for training: at least one, and at least one less than all."""
        wanted = math.floor(self.identities * self.train_share + 0.5)
        return min(self.identities - 1, max(1, wanted))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a crop, pixels."""
        return self.height, self.width
