"""Compares two models on a gallery's own crops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from service.errors import NotFound
from service.gallery.base import Crop, Filter, Hit
from service.gallery.protocol import Gallery
from service.model_change.agreement import agreement

_QUERIES = 500
_DEPTH = 10
_ATTEMPTS = 3
_FOUND = frozenset({"cluster", "join"})  # origins of what a model found itself


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well one model ranks the crops of other cameras.

    Attributes:
        mutual: share of queries that are the nearest crop of their own nearest crop. It needs no
            identities, but says little about accuracy.
        agreement: among queries with a group, the share that comes back to it through another
            camera (:func:`service.model_change.agreement.agreement`); None if none has a group.
        rank1: share of the labelled crops whose nearest labelled crop of another camera has the
            same identity; None if there are no labelled crops.
    """

    mutual: float
    agreement: float | None
    rank1: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same crops of one gallery.

    Attributes:
        queries: number of crops that were searched for among crops of other cameras.
        grouped: number of queries that count for ``agreement``.
        labelled: number of crops that count for ``rank1``: their identity was given or set by hand,
            and another camera has seen it too. What a clustering set does not count: its model
            would be right by its own word.
        judged_by: the figure to trust: ``labels`` for ``rank1``; without labels ``groups`` for
            ``agreement``, whose groups are those of both models; None if there is neither.
        served: the model that is served.
        candidate: the other model.
        overlap: share of the first ten hits that both models have in common.
    """

    queries: int
    grouped: int
    labelled: int
    judged_by: Literal["labels", "groups"] | None
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
    queries = _some(crops)
    old, new = _search(served, queries), _search(candidate, queries)
    nearest = (_nearest(queries, old), _nearest(queries, new))
    walked = agreement(served, candidate, crops, queries, nearest)
    labelled = _labelled(crops)
    asked = _some(labelled)
    return Comparison(
        queries=len(queries),
        grouped=walked.queries if walked else 0,
        labelled=len(asked),
        judged_by="labels" if asked else "groups" if walked else None,
        served=Judgement(
            mutual=_mutual(served, queries, old),
            agreement=walked.served if walked else None,
            rank1=_rank1(served, asked, labelled),
        ),
        candidate=Judgement(
            mutual=_mutual(candidate, queries, new),
            agreement=walked.candidate if walked else None,
            rank1=_rank1(candidate, asked, labelled),
        ),
        overlap=_overlap(old, new),
    )


def _in_both(served: Gallery, candidate: Gallery) -> list[Crop]:
    kept = {crop.crop_id for crop in _with_camera(candidate)}
    return [crop for crop in _with_camera(served) if crop.crop_id in kept]


def _with_camera(gallery: Gallery) -> list[Crop]:
    return [crop for crop in gallery.crops(Filter()) if crop.camera is not None]


def _some(crops: list[Crop]) -> list[Crop]:
    return crops[:: max(1, -(-len(crops) // _QUERIES))]


def _labelled(crops: Iterable[Crop]) -> list[Crop]:
    """The crops whose identity no clustering made and at least two cameras have seen."""
    known = [crop for crop in crops if crop.identity is not None and crop.origin not in _FOUND]
    cameras: dict[str | None, set[str | None]] = defaultdict(set)
    for crop in known:
        cameras[crop.identity].add(crop.camera)
    return [crop for crop in known if len(cameras[crop.identity]) > 1]


def _search(
    gallery: Gallery, queries: Sequence[Crop], among: frozenset[str] = frozenset()
) -> list[list[Hit]]:
    """The hits of each query among the crops of other cameras, or ``among`` some of them."""
    found: list[list[Hit]] = [[] for _ in queries]
    by_camera: dict[str | None, list[int]] = defaultdict(list)
    for index, crop in enumerate(queries):
        by_camera[crop.camera].append(index)
    for camera, indices in by_camera.items():
        rows = gallery.embeddings([queries[index].crop_id for index in indices])
        where = Filter(not_camera=camera, crop_ids=among or None)
        hits = gallery.query(rows, _DEPTH, where)
        for index, entry in zip(indices, hits, strict=True):
            found[index] = [hit for hit in entry if hit.crop.camera is not None]
    return found


def _nearest(queries: Sequence[Crop], found: list[list[Hit]]) -> dict[str, str]:
    return {
        query.crop_id: hits[0].crop.crop_id
        for query, hits in zip(queries, found, strict=True)
        if hits
    }


def _mutual(gallery: Gallery, queries: Sequence[Crop], found: list[list[Hit]]) -> float:
    nearest = [hits[0].crop if hits else None for hits in found]
    back = iter(_search(gallery, [crop for crop in nearest if crop is not None]))
    mutual = sum(
        bool(hits := next(back)) and hits[0].crop.crop_id == query.crop_id
        for query, crop in zip(queries, nearest, strict=True)
        if crop is not None
    )
    return mutual / len(queries)


def _rank1(gallery: Gallery, queries: Sequence[Crop], labelled: Iterable[Crop]) -> float | None:
    """Search among labelled crops alone: whether another is right, nobody knows."""
    if not queries:
        return None
    identities = {crop.crop_id: crop.identity for crop in labelled}
    found = _search(gallery, queries, frozenset(identities))
    right = sum(
        bool(hits) and identities.get(hits[0].crop.crop_id) == query.identity
        for query, hits in zip(queries, found, strict=True)
    )
    return right / len(queries)


def _overlap(old: list[list[Hit]], new: list[list[Hit]]) -> float:
    shares = [
        len(_ids(before) & _ids(after)) / max(len(before), len(after), 1)
        for before, after in zip(old, new, strict=True)
    ]
    return sum(shares) / len(shares)


def _ids(hits: Sequence[Hit]) -> set[str]:
    return {hit.crop.crop_id for hit in hits}
