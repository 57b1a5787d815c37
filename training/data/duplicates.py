"""Pictures that a data set holds more than once: the same file, the same pixels, or nearly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

NEAR_BITS = 4
"""Two perceptual hashes of 64 bits that differ in no more bits show nearly the same picture."""

_BLOCK = 1024  # rows of the distance matrix held at once


@dataclass(frozen=True, slots=True)
class Twins:
    """Groups of pictures that are alike.

    Attributes:
        groups: indices, ascending, at least two a group.
        across_splits: groups with pictures of more than one split.
        across_identities: groups with pictures of more than one known identity.
    """

    groups: tuple[tuple[int, ...], ...]
    across_splits: int
    across_identities: int

    @property
    def spare(self) -> int:
        """Pictures that could go with one of each group left."""
        return sum(len(group) - 1 for group in self.groups)


def find_twins(
    keys: Sequence[Hashable], splits: Sequence[str], identities: Sequence[Hashable | None]
) -> Twins:
    """Group pictures of one key.

    Args:
        keys: one a picture, such as a digest.
        splits: of each.
        identities: of each; None where unknown.

    Returns:
        The groups, in the order of their first picture.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        members[key].append(index)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    return Twins(
        groups=groups,
        across_splits=_count_mixed([splits[i] for i in group] for group in groups),
        across_identities=_count_mixed(
            [identities[i] for i in group if identities[i] is not None] for group in groups
        ),
    )


def _count_mixed(groups: Iterable[Sequence[Hashable]]) -> int:
    return sum(len(set(group)) > 1 for group in groups)


def near_keys(hashes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """One key for pictures that are connected by nearly equal hashes.

    Args:
        hashes: (N, 64) bits of perceptual hashes.

    Returns:
        (N,) int64 keys.
    """
    distinct, of_picture = np.unique(hashes, axis=0, return_inverse=True)
    signs = np.where(distinct, 1, -1).astype(np.float32)
    pairs = []
    for start in range(0, len(signs), _BLOCK):
        # A product of signs is 64 less twice the number of bits that differ.
        differing = (64 - signs[start : start + _BLOCK] @ signs[start:].T) / 2
        pairs.append(np.argwhere(differing <= NEAR_BITS) + start)
    rows, columns = np.concatenate(pairs).T
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=2 * (len(signs),))
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    return component[of_picture.reshape(-1)]
