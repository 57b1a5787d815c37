"""Compare tracks with the truth: identity F1, switches and fragmentations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from service.tracking.association import best_pairs, widened_iou
from service.values.boxes import Box

HIT = 0.5
"""IoU from which a box is on a person."""

Float64s = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What is on a frame, and what was said of it.

    Attributes:
        truth: the boxes of the people who count, by their track.
        said: the boxes that were given a name, by the name.
    """

    truth: Mapping[Any, Box]
    said: Mapping[Any, Box]


@dataclass(frozen=True)
class Following:
    """How well people were followed.

    Attributes:
        idf1: 2 IDTP / (boxes of the truth + named boxes), 0..1 (Ristani et al., 2016).
        switches: how often a person has another name than before (CLEAR MOT, 2008).
        fragments: how often a person is lost and found again, by any name.
        recall: share of the truth's boxes with a named box on it.
        precision: share of the named boxes that are on somebody.
        people: tracks of the truth.
        names: tracks that were named.
    """

    idf1: float
    switches: int
    fragments: int
    recall: float
    precision: float
    people: int
    names: int


def overlaps(one: Sequence[Box], two: Sequence[Box]) -> Float64s:
    """Intersection over union of each pair."""
    sides = (_corners(one), _corners(two))
    return widened_iou(sides[0], np.zeros(len(one)), sides[1])


def hits(one: Sequence[Box], two: Sequence[Box]) -> list[tuple[int, int]]:
    """Pair boxes that overlap enough, each at most once."""
    iou = overlaps(one, two)
    return best_pairs(iou, iou >= HIT)


def score(scenes: Sequence[Scene]) -> Following:
    """Compare names with tracks.

    Args:
        scenes: frames of one or more cameras, each camera's in order; tracks and names of two
            cameras must differ.

    Returns:
        The scores.
    """
    shared: Counter[tuple[Hashable, Hashable]] = Counter()
    last: dict[Hashable, Hashable] = {}
    lost: set[Hashable] = set()
    switches = fragments = matched = 0
    for scene in scenes:
        shared.update(_on_each_other(scene))
        pairs = _continued(scene, last)
        matched += len(pairs)
        for track, name in pairs.items():
            switches += last.get(track, name) != name
            fragments += track in lost
        last |= pairs
        lost = (lost | {track for track in scene.truth if track in last}) - pairs.keys()
    people = sum(len(scene.truth) for scene in scenes)
    named = sum(len(scene.said) for scene in scenes)
    return Following(
        idf1=2 * _most_shared(shared) / max(1, people + named),
        switches=switches,
        fragments=fragments,
        recall=matched / max(1, people),
        precision=matched / max(1, named),
        people=len({track for scene in scenes for track in scene.truth}),
        names=len({name for scene in scenes for name in scene.said}),
    )


def _on_each_other(scene: Scene) -> list[tuple[Hashable, Hashable]]:
    tracks, names = list(scene.truth), list(scene.said)
    iou = overlaps(list(scene.truth.values()), list(scene.said.values()))
    return [(tracks[i], names[j]) for i, j in zip(*np.nonzero(iou >= HIT), strict=True)]


def _continued(scene: Scene, last: dict[Hashable, Hashable]) -> dict[Hashable, Hashable]:
    """The name of each person; a person keeps the last name if it is still on the person."""
    there = set(_on_each_other(scene))
    pairs: dict[Hashable, Hashable] = {}
    for track in scene.truth:
        if (track, last.get(track)) in there and last[track] not in pairs.values():
            pairs[track] = last[track]
    tracks = [track for track in scene.truth if track not in pairs]
    names = [name for name in scene.said if name not in set(pairs.values())]
    found = hits([scene.truth[one] for one in tracks], [scene.said[one] for one in names])
    return pairs | {tracks[i]: names[j] for i, j in found}


def _most_shared(shared: Counter[tuple[Hashable, Hashable]]) -> int:
    """IDTP: each person gets one name for all frames, such that most boxes are right."""
    tracks = sorted({track for track, _ in shared}, key=str)
    names = sorted({name for _, name in shared}, key=str)
    frames = np.array([[shared[track, name] for name in names] for track in tracks])
    if not frames.size:
        return 0
    return int(frames[scipy.optimize.linear_sum_assignment(frames, maximize=True)].sum())


def _corners(boxes: Sequence[Box]) -> Float64s:
    sides = [(box.left, box.top, box.right, box.bottom) for box in boxes]
    return np.array(sides, dtype=np.float64).reshape(-1, 4)
