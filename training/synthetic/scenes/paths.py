"""Ways over a camera's ground: shortest ones around the things, with rounded corners."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from training.synthetic.bodies.site import Site
from training.synthetic.scenes.ground import CELL, GroundMap, ground_map

Vector = NDArray[np.float64]

BODY_RADIUS = 0.32  # metres
SLACK = 0.2  # metres kept free beside a body, which rounded corners and coarse cells use up
BEFORE_SIGHT = 1.0  # metres that people walk before they may be seen, and after it
POINT = 0.05  # metres between the points of a way
CUTS = (0.7, 0.4, 0.2, 0.0)  # metres cut off at a corner, largest first
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
NO_WAY = -9999
LEAST_WAY = 4.0  # metres between the ends of a way
LEAST_TURN = 1.2  # radians between the directions to both ends


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Where a party walks.

    Attributes:
        points: (N, 2) float64, metres.
        via: metres along the way to its place in the middle of the view.
    """

    points: Vector
    via: float


def draw_way(site: Site, index: int, rng: np.random.Generator, wide: float) -> Way | None:
    """Draw a way through a camera's view: from outside to a place in its middle, and out again.

    Args:
        site: where.
        index: of the camera.
        rng: source of the three places.
        wide: half the width of those who walk it side by side, metres.

    Returns:
        The way, at least ``wide`` from every thing; None if the three places are not connected.
    """
    ground = ground_map(site, index)
    walkable = ground.room >= wide + SLACK
    likely = ground.middle[walkable]
    if not likely.any():
        return None
    via = np.argwhere(walkable)[int(rng.choice(len(likely), p=likely / likely.sum()))]
    ends = _draw_ends(
        ground, walkable, _tree(site, index, wide, int(via[0]), int(via[1])), via, rng
    )
    if ends is None:
        return None
    before, after = (_straight(ground, cells, wide + SLACK / 2) for cells in ends)
    corners = np.concatenate([before[::-1], after[1:]])
    for cut in CUTS:
        points = _trimmed(ground, _rounded(corners, cut))
        if _least_room(ground, points) >= wide:
            distance = np.linalg.norm(points - before[0], axis=1)
            return Way(points, float(_lengths(points)[int(distance.argmin())]))
    return None


def _draw_ends(
    ground: GroundMap,
    walkable: NDArray[np.bool_],
    before: NDArray[np.int32],
    via: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Two entries in different directions, as the cells from the middle to each."""
    reached = before.reshape(walkable.shape) != NO_WAY
    entries = np.argwhere(ground.entries & walkable & reached)
    if not len(entries):
        return None
    away = np.linalg.norm(entries - via, axis=1)
    entries = entries[away <= np.median(away)]  # few cross the whole view, from end to end
    first = entries[int(rng.integers(len(entries)))]
    bearing = np.arctan2(*(entries - via).T)
    turn = np.abs((bearing - math.atan2(*(first - via)) + math.pi) % (2 * math.pi) - math.pi)
    far = np.linalg.norm((entries - first) * CELL, axis=1) > LEAST_WAY
    others = entries[(turn > LEAST_TURN) & far]
    others = others if len(others) else entries
    last = others[int(rng.integers(len(others)))]
    side = len(walkable)
    return _walk_back(before, via, first, side), _walk_back(before, via, last, side)


def _walk_back(
    before: NDArray[np.int32], via: NDArray[np.int64], end: NDArray[np.int64], side: int
) -> NDArray[np.int64]:
    """(K, 2) the cells from the tree's root to an end."""
    cell, root = int(end[0] * side + end[1]), int(via[0] * side + via[1])
    cells = [cell]
    while cell != root:
        cell = int(before[cell])
        cells.append(cell)
    return np.array([divmod(each, side) for each in reversed(cells)])


@lru_cache(maxsize=64)
def _tree(site: Site, index: int, wide: float, row: int, column: int) -> NDArray[np.int32]:
    """(N * N,) each cell's predecessor on the shortest way from a cell."""
    graph = _graph(site, index, wide)
    side = len(ground_map(site, index).room)
    root = row * side + column
    _, before = dijkstra(graph, indices=np.array(root), return_predecessors=True)
    before = before.astype(np.int32)
    before[root] = root
    return np.asarray(before, np.int32)


@lru_cache(maxsize=16)
def _graph(site: Site, index: int, wide: float) -> csr_array:
    """Neighbouring cells with room enough, and the metres between them."""
    walkable = ground_map(site, index).room >= wide + SLACK
    side = len(walkable)
    number = np.arange(side * side).reshape(side, side)
    starts, ends, metres = [], [], []
    for down, right in STEPS:
        here = (slice(0, side - down), slice(max(0, -right), side - max(0, right)))
        there = (slice(down, side), slice(max(0, right), side - max(0, -right)))
        both = walkable[here] & walkable[there]
        starts.append(number[here][both])
        ends.append(number[there][both])
        metres.append(np.full(int(both.sum()), CELL * math.hypot(down, right)))
    edges = (np.concatenate(metres), (np.concatenate(starts), np.concatenate(ends)))
    one_way = csr_array(edges, shape=(side * side, side * side))
    return csr_array(one_way + one_way.T)


def _straight(ground: GroundMap, cells: NDArray[np.int64], room: float) -> Vector:
    """(K, 2) corners of the way along cells, without those that a straight line can leave out."""
    points = ground.points(cells)
    kept = [0]
    while kept[-1] < len(points) - 1:
        ahead = len(points) - 1
        while ahead > kept[-1] + 1:
            line = np.linspace(points[kept[-1]], points[ahead], 2 + 4 * (ahead - kept[-1]))
            if _least_room(ground, line) >= room:
                break
            ahead = kept[-1] + max(1, (ahead - kept[-1]) * 3 // 4)
        kept.append(ahead)
    return points[kept]


def _least_room(ground: GroundMap, points: Vector) -> float:
    """Metres from the points to the nearest thing; outside the map there is no room."""
    cells = np.floor((points + ground.reach) / CELL).astype(int)
    if cells.min() < 0 or cells.max() >= len(ground.room):
        return 0.0
    return float(ground.room[cells[:, 1], cells[:, 0]].min())


def _rounded(corners: Vector, cut: float) -> Vector:
    """Points every few centimetres along a way, whose corners are cut (quadratic curves)."""
    pieces = [corners[:1]]
    for index in range(1, len(corners) - 1):
        middle = corners[index]
        arms = [corners[index + side] - middle for side in (-1, 1)]
        lengths = [max(float(np.linalg.norm(arm)), 1e-9) for arm in arms]
        start, end = (
            middle + arm * min(cut, 0.5 * length) / length
            for arm, length in zip(arms, lengths, strict=True)
        )
        share = np.linspace(0.0, 1.0, 9)[:, None]
        pieces.append((1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end)
    pieces.append(corners[-1:])
    rough = np.concatenate(pieces)
    along = _lengths(rough)
    even = np.linspace(0.0, along[-1], max(2, math.ceil(along[-1] / POINT)))
    return np.stack([np.interp(even, along, rough[:, axis]) for axis in (0, 1)], axis=1)


def _trimmed(ground: GroundMap, points: Vector) -> Vector:
    """Leave out what lies before and after the part in sight, but for a short distance."""
    cells = np.floor((points + ground.reach) / CELL).astype(int).clip(0, len(ground.room) - 1)
    seen = np.flatnonzero(ground.sight[cells[:, 1], cells[:, 0]])
    if not len(seen):
        return points
    spare = round(BEFORE_SIGHT / POINT)
    return points[max(0, seen[0] - spare) : seen[-1] + spare + 1]


def _lengths(points: Vector) -> Vector:
    """(N,) metres along a way to each of its points."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.asarray(np.r_[0.0, np.cumsum(steps)], np.float64)
