"""What sites, frames and a tracker say about pairs of crops, without anybody's label.

All crops of a track show one person; two crops of one frame show two, and so do crops of two sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.datasets import UNKNOWN, Sample

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class KnownPairs:
    """The sites, tracks and frames of crops.

    Attributes:
        sites: (N,) int64.
        tracks: (N,) int64, -1 for a crop without a track.
        frames: (N,) int64, -1 for a crop without a frame.
    """

    sites: Int64s
    tracks: Int64s
    frames: Int64s

    @classmethod
    def of(
        cls, samples: Sequence[Sample], sites: Int64s, *, tracks: bool = True, frames: bool = True
    ) -> KnownPairs:
        """Collect what is known of crops.

        Args:
            samples: the N crops.
            sites: (N,) int64.
            tracks: use their tracks.
            frames: use their frames.

        Returns:
            The pairs.
        """
        return cls(
            sites,
            np.array([s.track if tracks else UNKNOWN for s in samples], dtype=np.int64),
            np.array([s.frame if frames else UNKNOWN for s in samples], dtype=np.int64),
        )

    @classmethod
    def of_sites(cls, sites: Int64s) -> KnownPairs:
        """Only the sites are known.

        Args:
            sites: (N,) int64.
        """
        unknown = np.full(len(sites), UNKNOWN, dtype=np.int64)
        return cls(sites, unknown, unknown)

    @property
    def has_more_than_sites(self) -> bool:
        """Whether a crop has a track or a frame."""
        return bool((self.tracks > UNKNOWN).any() or (self.frames > UNKNOWN).any())

    def line(self) -> str:
        """Format one line for people."""
        return (
            f"known pairs: {_several(self.tracks)} tracks of several crops, "
            f"{_several(self.frames)} frames with several people"
        )


def _several(groups: Int64s) -> int:
    """The number of groups that hold more than one crop."""
    _, sizes = np.unique(groups[groups > UNKNOWN], return_counts=True)
    return int((sizes > 1).sum())
