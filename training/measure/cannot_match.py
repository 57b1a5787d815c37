"""Pairs of crops that cannot show one person: taken at once by cameras that lie far apart.

They need no label, only times and the user's word on which cameras are apart. They are impostor
pairs, so they give a threshold (:func:`training.measure.calibration.calibrate_without_labels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from training.measure.calibration import NO_PAIRS, Int64s, count_cosines

ALL = "all"


@dataclass(frozen=True, slots=True)
class Apart:
    """Which pairs of crops cannot match.

    Attributes:
        cameras: pairs of camera indices, the lower one first.
        within: nobody gets from one camera of a pair to the other in this many seconds.
    """

    cameras: frozenset[tuple[int, int]]
    within: float

    def __post_init__(self) -> None:
        """Check the range. Raises InvalidInput."""
        if not 0 <= self.within < float("inf"):
            raise InvalidInput(f"within {self.within:g}: must be 0 seconds or more")


def parse_apart(texts: Sequence[str], names: Sequence[str], within: float) -> Apart:
    """Read which cameras are apart.

    Args:
        texts: each ``CAMERA,CAMERA``, or ``all`` for every pair of two cameras.
        names: the names of the cameras, by index.
        within: see :class:`Apart`.

    Returns:
        The pairs.

    Raises:
        InvalidInput: a camera is unknown or paired with itself, or the seconds are negative.
    """
    pairs: set[tuple[int, int]] = set()
    for text in texts:
        if text == ALL:
            pairs.update(combinations(range(len(names)), 2))
            continue
        parts = [part.strip() for part in text.split(",")]
        unknown = [part for part in parts if part not in names]
        if len(set(parts)) != 2 or len(parts) != 2 or unknown:
            raise InvalidInput(
                f"apart {text!r}: must be two cameras with a comma, or {ALL}; the cameras are "
                f"{', '.join(names)}"
            )
        first, second = sorted(names.index(part) for part in parts)
        pairs.add((first, second))
    return Apart(frozenset(pairs), within)


def count_apart(
    embeddings: NDArray[np.float32],
    cameras: NDArray[np.int64],
    times: NDArray[np.float64],
    apart: Apart,
) -> Int64s:
    """Count the cosines of all pairs that cannot match.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64, index of each crop's camera.
        times: (N,) seconds.
        apart: which pairs these are.

    Returns:
        (20001,) counts, as :class:`~training.measure.calibration.PairCounts` holds them.
    """
    order = np.argsort(times, kind="stable")
    rows, seen, moments = embeddings[order], cameras[order], times[order]
    ends = np.searchsorted(moments, moments + apart.within, side="right")
    far = np.zeros((int(cameras.max(initial=0)) + 1,) * 2, bool)
    for first, second in apart.cameras:
        if second < len(far):
            far[first, second] = far[second, first] = True
    counts = NO_PAIRS.impostor
    for row, end in enumerate(ends):
        others = np.flatnonzero(far[seen[row], seen[row + 1 : end]]) + row + 1
        if len(others):
            counts = counts + count_cosines(rows[others] @ rows[row])
    return counts
