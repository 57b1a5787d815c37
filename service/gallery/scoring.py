"""The formula for every score, shared so that all galleries agree to the last bit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Hit

_ROWS_AT_ONCE = 256  # in float64 they stay in the cache


def cosines(rows: NDArray[np.float32], query: NDArray[np.float32]) -> list[float]:
    """Cosine of each row with the query, summed in float64 and rounded to float32.

    Each row is summed by itself instead of multiplying the whole matrix: BLAS sums a row
    differently depending on its position, so equal rows would not tie.

    Args:
        rows: (N, D) float32, unit rows.
        query: (D,) float32, of unit length.

    Returns:
        N cosines, -1..1.
    """
    exact = query.astype(np.float64)
    sums = [
        (rows[start : start + _ROWS_AT_ONCE] * exact).sum(axis=1)
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]
    scores = np.clip(np.concatenate([np.empty(0), *sums]), -1.0, 1.0)
    exactly: list[float] = scores.astype(np.float32).tolist()
    return exactly


def best_first(hits: Iterable[Hit]) -> list[Hit]:
    """Hits by descending score; ties in the order of crop ids."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.crop.crop_id))
