"""Compares two models on a gallery's own crops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from service.errors import NotFound
from service.gallery.base import Crop, Filter, Hit
from service.gallery.protocol import Gallery

_QUERIES = 500
_DEPTH = 10
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well one model ranks the crops of other cameras.

    Attributes:
        mutual: share of queries that are the nearest crop of their own nearest crop. It needs no
            identities; two cameras rarely agree by chance on which crops belong together.
        rank1: among queries whose identity another camera has seen too, the share whose nearest
            crop has that identity; None if there is no such query.
    """

    mutual: float
    rank1: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same crops of one gallery.

    Attributes:
        queries: number of crops that were searched for among crops of other cameras.
        labelled: number of queries that count for ``rank1``.
        served: the model that is served.
        candidate: the other model.
        overlap: share of the first ten hits that both models have in common.
    """

    queries: int
    labelled: int
    served: Judgement
    candidate: Judgement
    overlap: float


def compare(served: Gallery, candidate: Gallery) -> Comparison | None:
    """Search for some of a gallery's crops among those of other cameras, with both models.

    Args:
        served: the version that is served.
        candidate: the version for another model.

    Returns:
        The comparison; None if the gallery has fewer than two cameras, or if crops are deleted too
        fast to compare them.
    """
    for _ in range(_ATTEMPTS):
        with suppress(NotFound):  # a crop was deleted between two steps
            return _compare(served, candidate)
    return None


def _compare(served: Gallery, candidate: Gallery) -> Comparison | None:
    crops = _in_both(served, candidate)
    if len({crop.camera for crop in crops}) < 2:
        return None
    queries = crops[:: -(-len(crops) // _QUERIES)]
    elsewhere = _identities_elsewhere(crops)
    labelled = [crop.identity in elsewhere[crop.camera] for crop in queries]
    old, new = _search(served, queries), _search(candidate, queries)
    return Comparison(
        queries=len(queries),
        labelled=sum(labelled),
        served=_judge(served, queries, labelled, old),
        candidate=_judge(candidate, queries, labelled, new),
        overlap=_overlap(old, new),
    )


def _in_both(served: Gallery, candidate: Gallery) -> list[Crop]:
    kept = {crop.crop_id for crop in _with_camera(candidate)}
    return [crop for crop in _with_camera(served) if crop.crop_id in kept]


def _with_camera(gallery: Gallery) -> list[Crop]:
    return [crop for crop in gallery.crops(Filter()) if crop.camera is not None]


def _identities_elsewhere(crops: Iterable[Crop]) -> dict[str | None, set[str]]:
    """The identities that other cameras have seen, per camera."""
    seen: dict[str, set[str | None]] = defaultdict(set)
    for crop in crops:
        if crop.identity is not None:
            seen[crop.identity].add(crop.camera)
    cameras = {crop.camera for crop in crops}
    return {
        camera: {identity for identity, where in seen.items() if where - {camera}}
        for camera in cameras
    }


def _search(gallery: Gallery, queries: Sequence[Crop]) -> list[list[Hit]]:
    """The hits of each query among the crops of other cameras."""
    found: list[list[Hit]] = [[] for _ in queries]
    by_camera: dict[str | None, list[int]] = defaultdict(list)
    for index, crop in enumerate(queries):
        by_camera[crop.camera].append(index)
    for camera, indices in by_camera.items():
        rows = gallery.embeddings([queries[index].crop_id for index in indices])
        hits = gallery.query(rows, _DEPTH, Filter(not_camera=camera))
        for index, entry in zip(indices, hits, strict=True):
            found[index] = [hit for hit in entry if hit.crop.camera is not None]
    return found


def _judge(
    gallery: Gallery, queries: Sequence[Crop], labelled: Sequence[bool], found: list[list[Hit]]
) -> Judgement:
    nearest = [hits[0].crop if hits else None for hits in found]
    back = iter(_search(gallery, [crop for crop in nearest if crop is not None]))
    mutual = sum(
        bool(hits := next(back)) and hits[0].crop.crop_id == query.crop_id
        for query, crop in zip(queries, nearest, strict=True)
        if crop is not None
    )
    right = sum(
        crop is not None and crop.identity == query.identity
        for query, crop, counts in zip(queries, nearest, labelled, strict=True)
        if counts
    )
    counted = sum(labelled)
    return Judgement(mutual / len(queries), right / counted if counted else None)


def _overlap(old: list[list[Hit]], new: list[list[Hit]]) -> float:
    shares = [
        len(_ids(before) & _ids(after)) / max(len(before), len(after), 1)
        for before, after in zip(old, new, strict=True)
    ]
    return sum(shares) / len(shares)


def _ids(hits: Sequence[Hit]) -> set[str]:
    return {hit.crop.crop_id for hit in hits}
