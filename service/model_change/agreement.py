"""Compares two models without labels, by crops of one camera that both models hold to be alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop, Filter, Hit
from service.gallery.protocol import Gallery
from service.search.kreciprocal import jaccard_distance

Bools = NDArray[np.bool_]
Nearest = Mapping[str, str]
"""The nearest crop of another camera, by the id of the query."""

_MATES = 20  # crops of the own camera per query among which its group is looked for
_BACK = 10  # crops of the way back that are looked at
_K1, _K2, _EPS = 6, 2, 0.4  # small and close: a group may be too small, but it must be right


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two models find a query's group again through another camera.

    Attributes:
        queries: number of queries that have a group.
        served: share of them that the served model brings back to their group.
        candidate: the same for the other model.
    """

    queries: int
    served: float
    candidate: float


@dataclass(frozen=True, slots=True)
class _Way:
    """What one model finds from the queries of one camera.

    Attributes:
        around: for each query, the nearest crops of its own camera.
        back: for each query, the crops of its own camera nearest to the crop that is nearest to the
            query in another camera; without the query, nearest first.
    """

    around: list[list[str]]
    back: list[list[str]]


def agreement(
    served: Gallery,
    candidate: Gallery,
    crops: Sequence[Crop],
    queries: Sequence[Crop],
    nearest: tuple[Nearest, Nearest],
) -> Agreement | None:
    """Walk from each query to its nearest crop of another camera and back, with both models.

    The way is right if it ends at the query's group: the crops of its camera that *both* models
    hold to be alike (k-reciprocal neighbours within a small Jaccard distance). Crops that only one
    of the models holds to be alike are skipped, so neither model sets the task. One camera is far
    easier than two, so what two models agree on there is mostly one person.

    Args:
        served: the version that is served.
        candidate: the version for the other model.
        crops: the crops of both versions; other crops are ignored.
        queries: Q of them, with a camera.
        nearest: for the served and the other model, the nearest crop of another camera.

    Returns:
        The shares; None if no query has a group.

    Raises:
        NotFound: a crop was deleted meanwhile.
    """
    both = frozenset(crop.crop_id for crop in crops)
    by_camera: dict[str | None, list[str]] = defaultdict(list)
    for crop in queries:
        if crop.crop_id in nearest[0] and crop.crop_id in nearest[1]:
            by_camera[crop.camera].append(crop.crop_id)
    right: list[tuple[bool, bool]] = []
    for camera, own in by_camera.items():
        ways = (
            _find_way(served, camera, own, nearest[0], both),
            _find_way(candidate, camera, own, nearest[1], both),
        )
        right += _follow((served, candidate), own, ways)
    if not right:
        return None
    old, new = np.mean(right, axis=0)
    return Agreement(len(right), float(old), float(new))


def _follow(
    galleries: tuple[Gallery, Gallery], queries: Sequence[str], ways: tuple[_Way, _Way]
) -> list[tuple[bool, bool]]:
    """Whether each query of one camera that has a group comes back to it, for both models."""
    found = (entry for way in ways for part in (way.around, way.back) for entry in part)
    crops = sorted(set(queries).union(*found))
    place = {crop_id: row for row, crop_id in enumerate(crops)}
    rows = [place[query] for query in queries]
    old, new = (_alike(gallery, crops, rows) for gallery in galleries)
    agreed, disputed = old & new, old ^ new
    agreed[range(len(rows)), rows] = False
    backs = [[[place[crop_id] for crop_id in back] for back in way.back] for way in ways]
    return [
        (
            _comes_back(backs[0][query], agreed[query], disputed[query]),
            _comes_back(backs[1][query], agreed[query], disputed[query]),
        )
        for query in np.flatnonzero(agreed.any(axis=1))
    ]


def _find_way(
    gallery: Gallery, camera: str | None, queries: Sequence[str], far: Nearest, both: frozenset[str]
) -> _Way:
    own = Filter(cameras=frozenset({camera} if camera is not None else ()))
    around = gallery.query(gallery.embeddings(queries), _MATES, own)
    back = gallery.query(gallery.embeddings([far[query] for query in queries]), _BACK + 1, own)
    return _Way(
        [_ids(hits, both) for hits in around],
        [_ids(hits, both - {query}) for query, hits in zip(queries, back, strict=True)],
    )


def _alike(gallery: Gallery, crops: Sequence[str], rows: Sequence[int]) -> Bools:
    """(Q, N) bool: which of N crops of one camera a model holds to be like those in ``rows``."""
    near = jaccard_distance(gallery.embeddings(crops), k1=_K1, k2=_K2, within=_EPS)[rows].tocoo()
    alike = np.zeros(near.shape, dtype=np.bool_)
    alike[near.row, near.col] = True
    return alike


def _comes_back(back: Sequence[int], agreed: Bools, disputed: Bools) -> bool:
    """Whether the first crop on the way back that the models do not dispute is of the group."""
    first = next((row for row in back if not disputed[row]), None)
    return first is not None and bool(agreed[first])


def _ids(hits: Sequence[Hit], among: frozenset[str]) -> list[str]:
    return [hit.crop.crop_id for hit in hits if hit.crop.crop_id in among]
