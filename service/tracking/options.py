"""When a box continues a track, and how long a track lives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """How to follow persons. The defaults suit ``models/nanodet-person``.

    Attributes:
        low: boxes with a lower score are ignored, 0..1. Ask the detector for all above it.
        high: boxes with at least this score are matched first, ``low``..1.
        start: a box begins a track from this score on, ``high``..1.
        overlap: least IoU of a box and the place where its person is expected, 0..1.
        low_overlap: the same for boxes with a score below ``high``.
        hits: frames after which a track gets its name, >= 1.
        gap: a track ends once it has not been seen for longer, in seconds, > 0.
        unnamed_gap: the same for a track without a name. It must be longer than the time between
            two frames: below two frames per second, nobody gets a name by the default.
        appearance: share of the embeddings in the comparison of a box and a track, 0..1; IoU has
            the rest.
        most: tracks that live at the same time; while there are so many, none begins.
    """

    low: float = 0.3
    high: float = 0.4
    start: float = 0.45
    overlap: float = 0.3
    low_overlap: float = 0.6
    hits: int = 2
    gap: float = 2.0
    unnamed_gap: float = 0.6
    appearance: float = 0.5
    most: int = 300

    def __post_init__(self) -> None:
        """Check the rules above. Raises ValueError: one is broken."""
        if not 0.0 <= self.low <= self.high <= self.start <= 1.0:
            raise ValueError(
                "scores must satisfy 0 <= low <= high <= start <= 1, got "
                f"low {self.low}, high {self.high}, start {self.start}"
            )
        for name in ("overlap", "low_overlap", "appearance"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        for name in ("hits", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("gap", "unnamed_gap"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be above 0 seconds, got {getattr(self, name)}")
