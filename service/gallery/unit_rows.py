"""The rule for embeddings, the same for every kind of gallery."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput

_TOLERANCE = 1e-3


def unit_rows(
    embeddings: NDArray[np.float32], count: int | None, dimension: int, owner: Callable[[int], str]
) -> NDArray[np.float32]:
    """Check embeddings and scale each row to length one in full float32 precision.

    The network's own rows have unit length only up to its rounding. After scaling, the inner
    product of two rows is their cosine.

    Args:
        embeddings: (N, D) float32, finite, each row of length 1 within 0.001.
        count: N, if it is known.
        dimension: D of the gallery.
        owner: names row i in a message, for example ``crop 'a'``.

    Returns:
        (N, D) float32, contiguous.

    Raises:
        InvalidInput: wrong shape, or a row that is not finite or not of unit length.
    """
    found = np.shape(embeddings)
    if len(found) != 2 or found[1] != dimension or (count is not None and found[0] != count):
        wanted = f"({'N' if count is None else count}, {dimension})"
        raise InvalidInput(f"embeddings have shape {found}, must be {wanted}")
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    # The squares of huge but finite float32 values overflow, so lengths are computed in float64.
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    for index in np.flatnonzero(~(np.abs(lengths - 1.0) <= _TOLERANCE)):
        if not np.isfinite(rows[index]).all():
            raise InvalidInput(f"{owner(int(index))}: embedding holds a value that is not finite")
        raise InvalidInput(
            f"{owner(int(index))}: embedding has length {lengths[index]:.6g}, must be 1 ± 0.001"
        )
    return np.asarray(rows / lengths[:, None], dtype=np.float32)
