"""Order what a query found: re-rank the nearest crops, group by identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from service.errors import NotFound, Unavailable
from service.gallery.base import Crop, Hit, StandardisedHits
from service.gallery.protocol import Gallery
from service.search.kreciprocal import Float32s, rerank
from service.search.multi_shot import IdentityScore, Tally, identity_score
from service.search.shots import Query
from service.values.vocabulary import GroupBy


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found.

    Attributes:
        hits: the nearest crops, best first, without the crops that make the query.
        nearest: the best cosine found; None if no crop passes the filter.
        tallies: scores of the identities among the hits, if all of their crops count.
        head: the crops to re-rank with their standardised embeddings, if embeddings are
            standardised. They need not reach ``min_score``: close crops of other people help to
            tell people apart.
    """

    hits: tuple[Hit, ...]
    nearest: float | None
    tallies: dict[str, Tally] = field(default_factory=dict)
    head: StandardisedHits | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A crop that may become a match.

    Attributes:
        hit: the crop and its cosine.
        rerank_distance: k-reciprocal distance, if it was re-ranked.
        identity_score: the score of its identity, if candidates are grouped by it.
        group_size: how many crops of its group count, if candidates are grouped.
    """

    hit: Hit
    rerank_distance: float | None = None
    identity_score: float | None = None
    group_size: int | None = None


def candidates_of(gallery: Gallery, query: Query, found: Found, rerank_top: int) -> list[Candidate]:
    """Put the crops found in the order of the answer, whether or not they reach ``min_score``.

    Args:
        gallery: the gallery searched.
        query: what was searched for.
        found: what it found.
        rerank_top: how many of the nearest crops to re-rank; 0 keeps the order of the hits.

    Returns:
        Best first; re-ranked crops precede the others.

    Raises:
        Unavailable: crops were deleted in the meantime.
    """
    if not rerank_top or not found.hits:
        return [Candidate(hit) for hit in found.hits]
    hits, query_row, rows = _head(gallery, query, found, rerank_top)
    distances = rerank(query_row[None], rows)[0]
    order = np.argsort(distances, kind="stable")
    reranked = {hit.crop.crop_id for hit in hits}
    tail = [Candidate(hit) for hit in found.hits if hit.crop.crop_id not in reranked]
    return [Candidate(hits[index], float(distances[index])) for index in order] + tail


def group(
    candidates: Sequence[Candidate], found: Found, by: GroupBy, rule: IdentityScore
) -> list[Candidate]:
    """Keep the first candidate of each group.

    Groups with re-ranked crops come first, ordered by the same rule over the distances of those
    crops; the others follow in the order of their scores.

    Args:
        candidates: matching crops, in the order of the answer.
        found: holds the identities' scores.
        by: what makes a group, see :func:`group_key`.
        rule: how the scores of several crops make one score.

    Returns:
        One candidate per group, with the group's size, and the identity's score.
    """
    members: dict[tuple[str, ...], list[Candidate]] = {}
    for candidate in candidates:
        members.setdefault(group_key(candidate.hit.crop, by), []).append(candidate)
    groups = [_of_group(own, found.tallies, rule) for own in members.values()]
    groups.sort(key=lambda entry: entry[0])
    ordered = [candidate for _, candidate in groups]
    return ordered if by == "identity" else [replace(one, identity_score=None) for one in ordered]


def group_key(crop: Crop, by: GroupBy) -> tuple[str, ...]:
    """What a crop is grouped by; a crop without an identity or a track is a group of its own.

    Args:
        crop: the crop.
        by: its identity, its camera and track, or nothing.

    Returns:
        The same for crops of one group, and for no others.
    """
    match by:
        case "identity" if crop.identity is not None:
            return (by, crop.identity)
        case "track" if crop.track is not None:
            return (by, crop.camera or "", crop.track)  # no camera is called ""
        case _:
            return ("crop", crop.crop_id)


def _head(
    gallery: Gallery, query: Query, found: Found, count: int
) -> tuple[tuple[Hit, ...], Float32s, Float32s]:
    """The crops to re-rank, the query's embedding (D,), and theirs (N, D)."""
    if found.head is not None:
        return found.head.hits, found.head.query, found.head.rows
    hits = found.hits[:count]
    try:
        rows = gallery.embeddings([hit.crop.crop_id for hit in hits])
    except NotFound as error:
        raise Unavailable("crops were deleted while they were being re-ranked") from error
    return hits, query.embedding, rows


def _of_group(
    own: Sequence[Candidate], tallies: dict[str, Tally], rule: IdentityScore
) -> tuple[tuple[float, float], Candidate]:
    """The first candidate with its group's score, preceded by what to sort groups by."""
    first = own[0]
    tally = tallies.get(first.hit.crop.identity or "")
    if tally is None:
        tally = Tally.of([one.hit for one in own], rule)
    near = [-one.rerank_distance for one in own if one.rerank_distance is not None]
    distance = -identity_score(near, rule) if near else math.inf
    candidate = replace(first, identity_score=tally.score, group_size=tally.crops)
    return (distance, -tally.ranked_by), candidate
