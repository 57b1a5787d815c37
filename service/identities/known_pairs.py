"""What tracks say about pairs of crops: must-links and cannot-links.

Constrained clustering after Wagstaff et al. (ICML 2001): crops of one track are in one group, and
tracks that one camera saw at one time are in two. As in training, a track moves its own crops and
merges no clusters: through tracks, the mistakes of clusters would add up (benchmarks/grouping.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import scipy
from numpy.typing import NDArray

from service.gallery.base import Crop
from service.gallery.tracks import Span, Track, spans_of, track_of
from service.identities.dbscan import OUTLIER

Int64s = NDArray[np.int64]


def gather_tracks(labels: Int64s, crops: Sequence[Crop], min_samples: int) -> Int64s:
    """Move each track into the cluster that holds most of its crops.

    Args:
        labels: (N,) int64, 0..C-1, or -1 for an outlier.
        crops: N crops.
        min_samples: if all crops of a track are outliers, so many make a cluster of their own.

    Returns:
        (N,) int64, likewise; a cluster may be empty now.
    """
    labels, fresh = labels.copy(), int(labels.max(initial=OUTLIER)) + 1
    for members in _tracks_of(crops):
        clustered = labels[members][labels[members] != OUTLIER]
        if len(clustered):
            labels[members] = np.bincount(clustered).argmax()
        elif len(members) >= min_samples:
            labels[members] = fresh
            fresh += 1
    return labels


def divide_cluster(
    members: Sequence[int], near: scipy.sparse.csr_array, crops: Sequence[Crop], min_samples: int
) -> list[list[int]]:
    """Divide a cluster in which tracks were in one camera's view at one time.

    Its tracks and single crops are joined again, the closest first, unless that brings two such
    tracks together.

    Args:
        members: indices of its crops.
        near: (N, N) sparse, the distances of neighbours only.
        crops: N crops.
        min_samples: neighbours that make a crop the core of a group, including itself.

    Returns:
        Its parts; the cluster itself if no two tracks met. Crops that are left alone are in none.
    """
    if not _is_crowded(spans_of(crops[i] for i in members)):
        return [list(members)]
    is_core = np.diff(near.indptr)[members] + 1 >= min_samples
    parts = _Parts([crops[i] for i in members], is_core)
    for one, other in _by_distance(near[members][:, members], is_core):
        parts.join(one, other)
    return [[members[place] for place in part] for part in parts.groups(min_samples)]


def _tracks_of(crops: Sequence[Crop]) -> list[list[int]]:
    """The places of the crops of each track that has several."""
    found: defaultdict[Track, list[int]] = defaultdict(list)
    for place, crop in enumerate(crops):
        if (track := track_of(crop)) is not None:
            found[track].append(place)
    return [places for places in found.values() if len(places) > 1]


def _is_crowded(spans: Iterable[Span]) -> bool:
    """Whether two tracks were in one camera's view at one time."""
    ordered = sorted(spans, key=lambda span: (span.camera, span.first, span.last))
    # If any two meet, two that follow each other do.
    return any(before.meets(after) for before, after in pairwise(ordered))


def _by_distance(
    near: scipy.sparse.csr_array, is_core: NDArray[np.bool_]
) -> Iterable[tuple[int, int]]:
    """Pairs of neighbours, of which one at least is a core; two cores first, then the closest."""
    stored = near.tocoo()
    kept = (stored.row < stored.col) & (is_core[stored.row] | is_core[stored.col])
    rows, columns, data = stored.row[kept], stored.col[kept], stored.data[kept]
    order = np.lexsort((columns, rows, data, ~(is_core[rows] & is_core[columns])))
    return zip(rows[order].tolist(), columns[order].tolist(), strict=True)


class _Parts:
    """Parts of a cluster, each without two tracks that met.

    Args:
        crops: of the cluster. The crops of a track are one part from the beginning.
        is_core: (M,) which of them are cores.
    """

    def __init__(self, crops: Sequence[Crop], is_core: NDArray[np.bool_]) -> None:
        self._parent = list(range(len(crops)))
        self._cored = is_core.tolist()
        self._core = is_core.tolist()
        self._views: list[dict[str, list[tuple[float, float]]]] = [{} for _ in crops]
        first = {track_of(crop): place for place, crop in reversed([*enumerate(crops)])}
        for place, crop in enumerate(crops):
            if crop.track is not None:
                self._unite(first[track_of(crop)], place)
        for span in spans_of(crops):
            root = self._find(first[span.camera, span.track])
            self._views[root][span.camera] = [(span.first, span.last)]

    def join(self, one: int, other: int) -> None:
        """Unite the parts of two neighbours, unless two of their tracks met."""
        a, b = self._find(one), self._find(other)
        # A crop that is no core belongs to the first part that takes it, and connects no parts.
        bridge = (self._cored[a] and not self._core[one]) or (
            self._cored[b] and not self._core[other]
        )
        if a != b and not bridge and not self._meet(a, b):
            self._unite(a, b)

    def groups(self, min_samples: int) -> list[list[int]]:
        """The parts with a core or with so many crops, in the order of their first crops."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for place in range(len(self._parent)):
            found[self._find(place)].append(place)
        return [
            part for root, part in found.items() if self._cored[root] or len(part) >= min_samples
        ]

    def _find(self, place: int) -> int:
        while self._parent[place] != place:
            self._parent[place] = self._parent[self._parent[place]]
            place = self._parent[place]
        return place

    def _unite(self, one: int, other: int) -> None:
        a, b = self._find(one), self._find(other)
        if a == b:
            return
        if _count(self._views[a]) < _count(self._views[b]):
            a, b = b, a
        self._parent[b] = a
        self._cored[a] = self._cored[a] or self._cored[b]
        for camera, times in self._views[b].items():
            for time in times:
                insort(self._views[a].setdefault(camera, []), time)
        self._views[b] = {}

    def _meet(self, a: int, b: int) -> bool:
        few, many = sorted((self._views[a], self._views[b]), key=_count)
        return any(
            _overlaps(time, many[camera])
            for camera, times in few.items()
            if camera in many
            for time in times
        )


def _count(views: dict[str, list[tuple[float, float]]]) -> int:
    return sum(map(len, views.values()))


def _overlaps(time: tuple[float, float], times: list[tuple[float, float]]) -> bool:
    """Whether a time overlaps one of some times in order, none of which overlap."""
    at = bisect_left(times, time)
    return any(
        time[0] <= last and first <= time[1] for first, last in times[max(at - 1, 0) : at + 1]
    )
