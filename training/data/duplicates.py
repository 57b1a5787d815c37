"""Find pictures that a data set contains more than once: exactly, by pixels, or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

NEAR_BITS = 4
"""Pictures whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates."""

_BLOCK = 1024  # rows of the distance matrix in memory at once


@dataclass(frozen=True, slots=True)
class Twins:
    """Groups of duplicate pictures.

    Attributes:
        groups: indices, ascending, at least two per group.
        across_splits: groups with pictures of more than one split.
        across_identities: groups with pictures of more than one known identity.
    """

    groups: tuple[tuple[int, ...], ...]
    across_splits: int
    across_identities: int

    @property
    def spare(self) -> int:
        """Number of pictures to remove so that one of each group remains."""
        return sum(len(group) - 1 for group in self.groups)


def find_twins(
    keys: Sequence[Hashable], splits: Sequence[str], identities: Sequence[Hashable | None]
) -> Twins:
    """Group pictures that have the same key.

    Args:
        keys: one per picture, such as a digest.
        splits: the split of each picture.
        identities: the identity of each picture; None if unknown.

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
    """Give the same key to pictures that are connected by nearly equal hashes.

    Args:
        hashes: (N, 64) bits of perceptual hashes.

    Returns:
        (N,) int64 keys.
    """
    distinct, of_picture = np.unique(hashes, axis=0, return_inverse=True)
    signs = np.where(distinct, 1, -1).astype(np.float32)
    pairs = []
    for start in range(0, len(signs), _BLOCK):
        # A product of signs is 64 minus twice the number of differing bits.
        differing = (64 - signs[start : start + _BLOCK] @ signs[start:].T) / 2
        pairs.append(np.argwhere(differing <= NEAR_BITS) + start)
    rows, columns = np.concatenate(pairs).T
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=2 * (len(signs),))
    component = connected_components(graph, directed=False)[1].astype(np.int64)
    return component[of_picture.reshape(-1)]
