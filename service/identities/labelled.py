"""Give free crops the identity of the labelled crops in their cluster."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop
from service.gallery.tracks import Span, Track, spans_of, track_of

Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The labelled person whom some crops resemble most.

    Attributes:
        crop_ids: free crops of one track, or one free crop.
        identity: the person's.
        score: cosine with the nearest labelled crop; infinite if that is of the same track.
        span: when the track was in its camera's view, if that is known.
    """

    crop_ids: tuple[str, ...]
    identity: str | None
    score: float
    span: Span | None


def nearest_labelled(
    crops: Sequence[Crop],
    embeddings: Float32s,
    members: Sequence[int],
    free: Collection[int],
) -> list[Nearest]:
    """Find the nearest labelled person for each track, and each crop without one, of a cluster.

    Args:
        crops: N crops.
        embeddings: (N, D) float32, unit rows.
        members: indices of the cluster's crops; at least one is not free.
        free: indices of the crops that may get an identity.

    Returns:
        One entry per track with free crops, and per free crop without a track.
    """
    labelled = [i for i in members if i not in free]
    together: defaultdict[Track | int, list[int]] = defaultdict(list)
    for i in members:
        if i in free:
            together[track_of(crops[i]) or i].append(i)
    own: defaultdict[Track | None, list[int]] = defaultdict(list)
    for i in labelled:
        own[track_of(crops[i])].append(i)
    return [
        _nearest(crops, embeddings, unit, own.get(track_of(crops[unit[0]]), []) or labelled)
        if crops[unit[0]].track is not None
        else _nearest(crops, embeddings, unit, labelled)
        for unit in together.values()
    ]


def _nearest(
    crops: Sequence[Crop], embeddings: Float32s, unit: Sequence[int], labelled: Sequence[int]
) -> Nearest:
    mean = embeddings[unit].mean(axis=0)
    scores = embeddings[labelled] @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    best = int(scores.argmax())
    crop = crops[labelled[best]]
    track, spans = track_of(crops[unit[0]]), spans_of(crops[i] for i in unit)
    return Nearest(
        crop_ids=tuple(crops[i].crop_id for i in unit),
        identity=crop.identity,
        score=math.inf if track is not None and track == track_of(crop) else float(scores[best]),
        span=spans[0] if spans else None,
    )


def settle(found: Iterable[Nearest], labelled: Iterable[Crop]) -> Mapping[str, str | None]:
    """Let the nearest join first; a track that met one of a person's tracks is somebody else.

    Args:
        found: who resembles whom.
        labelled: all labelled crops.

    Returns:
        The identity per crop id; None for crops that must not join.
    """
    named: defaultdict[str | None, list[Crop]] = defaultdict(list)
    for crop in labelled:
        named[crop.identity].append(crop)
    seen = {identity: spans_of(crops) for identity, crops in named.items()}
    labels: dict[str, str | None] = {}
    for one in sorted(found, key=lambda entry: -entry.score):
        spans, span = seen.setdefault(one.identity, []), one.span
        is_other = span is not None and any(span.meets(other) for other in spans)
        if is_other and one.score < math.inf:
            labels |= dict.fromkeys(one.crop_ids)
            continue
        labels |= dict.fromkeys(one.crop_ids, one.identity)
        if span is not None:
            spans.append(span)
    return labels
