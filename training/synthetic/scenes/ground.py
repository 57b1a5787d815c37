"""Where people can walk in a camera's street, and where they come into its view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.synthetic.bodies.rays import Placed, RayMesh, Shadows, cast
from training.synthetic.bodies.site import Site
from training.synthetic.bodies.street import Street
from training.synthetic.scenes.frame import NEAREST, FrameView, frame_view

Bools = NDArray[np.bool_]
Vector = NDArray[np.float64]

CELL = 0.25  # metres
BEYOND = 5.0  # metres that the map reaches beyond open area and camera
LARGEST_REACH = 26.0
SLICES = np.arange(0.2, 2.0, 0.05)  # heights at which things are cut; lower ones are stepped over
UNDER_CAMERA = 2.0  # metres around the camera's foot where nobody walks
ENTRY_DEPTH = 2.5  # metres beyond the view's edge where people appear
BODY = (0.1, 0.7, 1.3, 1.9)  # heights of a body, metres
MOSTLY = 0.75  # share of a body that is seen where people like to stop
GROUND_FACES = 2


@dataclass(frozen=True, slots=True, eq=False)
class GroundMap:
    """The ground of a camera's street as square cells.

    Attributes:
        reach: half the map's side, metres; its middle is the origin.
        room: (N, N) float64 metres to the nearest thing; rows are y, columns are x.
        sight: (N, N) bool, where a part of a body may be seen.
        entries: (N, N) bool, out of sight and near it.
        middle: (N, N) float64, how likely people visit a cell in which all of a body is in the
            frame and most of it is seen: all distances from the camera alike, up to its greatest;
            0 elsewhere.
    """

    reach: float
    room: Vector
    sight: Bools
    entries: Bools
    middle: Vector

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """The cell of a point.

        Args:
            x: metres.
            y: metres.

        Returns:
            Row and column; points outside have those of the nearest cell.
        """
        last = len(self.room) - 1
        row, column = ((value + self.reach) / CELL for value in (y, x))
        return min(last, max(0, int(row))), min(last, max(0, int(column)))

    def points(self, cells: NDArray[np.integer]) -> Vector:
        """The middles of cells.

        Args:
            cells: (K, 2) rows and columns.

        Returns:
            (K, 2) x and y, metres.
        """
        return np.asarray((cells[:, ::-1] + 0.5) * CELL - self.reach, np.float64)


@lru_cache(maxsize=8)
def ground_map(site: Site, index: int) -> GroundMap:
    """Map a camera's ground.

    Args:
        site: where.
        index: of the camera.

    Returns:
        The map; it does not depend on the size of the frames, but for their usual shape.
    """
    street, mesh = site.street(index)
    view = frame_view(site, index, (540, 960))
    camera = view.view.origin
    reach = min(LARGEST_REACH, max(street.open_radius, math.hypot(*camera[:2])) + BEYOND)
    side = math.ceil(2 * reach / CELL)
    free = ~_things(street, reach, side)
    centres = (np.arange(side) + 0.5) * CELL - reach
    x, y = np.meshgrid(centres, centres)
    away = np.hypot(x - camera[0], y - camera[1])
    free &= away > UNDER_CAMERA
    free[[0, -1]], free[:, [0, -1]] = False, False
    room = ndimage.distance_transform_edt(free) * CELL
    framed, inner = _framed(view, x, y, 1.3), _framed(view, x, y, 0.4, inside=True)
    seen = np.zeros(framed.shape)
    seen[framed] = _seen_share(view, np.c_[x[framed], y[framed]], mesh)
    sight = ndimage.binary_dilation(seen > 0.0, iterations=math.ceil(1.0 / CELL))
    near = ndimage.distance_transform_edt(~sight) * CELL < ENTRY_DEPTH
    visited = inner & (seen >= MOSTLY) & (away < site.camera(index).place.far)
    middle = np.where(visited, 1.0 / np.maximum(away, UNDER_CAMERA), 0.0)
    return GroundMap(reach, room, sight, near & ~sight & free, middle)


def _things(street: Street, reach: float, side: int) -> Bools:
    """(side, side) cells in which something stands: the street's mesh, cut at many heights."""
    blocked = np.zeros((side, side), dtype=bool)
    corners = street.vertices[street.faces[GROUND_FACES:]].astype(np.float64)
    low, high = corners.min(1), corners.max(1)
    inside = (low[:, :2] < reach).all(1) & (high[:, :2] > -reach).all(1)
    corners, low, high = corners[inside], low[inside, 2], high[inside, 2]
    for height in SLICES:
        cut = corners[(low <= height) & (high > height)]
        _mark(blocked, *_cut(cut, float(height)), reach)
    flat = corners[(low > SLICES[0]) & (high < SLICES[-1]) & (high - low < 0.05)]
    for first in range(3):  # edges of what lies flat between two cuts, such as a table's top
        _mark(blocked, flat[:, first, :2], flat[:, (first + 1) % 3, :2], reach)
    return blocked


def _cut(corners: Vector, height: float) -> tuple[Vector, Vector]:
    """Cut (T, 3, 3) triangles, which all cross a height: (T, 2) both ends of the line in each."""
    above = corners[:, :, 2] > height
    lone = np.where(above.sum(1) == 1, above.argmax(1), (~above).argmax(1))
    rows = np.arange(len(corners))
    tip = corners[rows, lone]
    ends = []
    for other in (1, 2):
        far = corners[rows, (lone + other) % 3]
        share = (height - tip[:, 2]) / (far[:, 2] - tip[:, 2])
        ends.append(tip[:, :2] + share[:, None] * (far - tip)[:, :2])
    return ends[0], ends[1]


def _mark(blocked: Bools, start: Vector, end: Vector, reach: float) -> None:
    """Mark the cells along lines, with one point per third of a cell."""
    length = np.minimum(np.linalg.norm(end - start, axis=1), 200.0)
    counts = np.ceil(length / (CELL / 3)).astype(int) + 1
    line = np.repeat(np.arange(len(start)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (place / np.maximum(counts[line] - 1, 1))[:, None]
    points = start[line] + share * (end - start)[line]
    cells = np.floor((points + reach) / CELL).astype(int)
    cells = cells[((cells >= 0) & (cells < len(blocked))).all(1)]
    blocked[cells[:, 1], cells[:, 0]] = True


def _framed(view: FrameView, x: Vector, y: Vector, half: float, *, inside: bool = False) -> Bools:
    """Cells where a part of a body is in the frame; with ``inside``, where all of it is."""
    height, width = view.size
    low, high = np.full((2, *x.shape), np.inf), np.full((2, *x.shape), -np.inf)
    ahead = np.full(x.shape, np.inf)
    for side_x, side_y, z in np.ndindex(2, 2, 2):
        points = np.stack([x + (2 * side_x - 1) * half, y + (2 * side_y - 1) * half], -1)
        points = np.concatenate([points, np.full((*x.shape, 1), 1.95 * z)], -1)
        pixels, depth = view.pixels(points.reshape(-1, 3))
        ahead = np.minimum(ahead, depth.reshape(x.shape))
        place = pixels.T.reshape(2, *x.shape)
        low, high = np.minimum(low, place), np.maximum(high, place)
    if inside:
        whole = (low > 0).all(0) & (high[0] < width) & (high[1] < height)
        return np.asarray(whole & (ahead > NEAREST), np.bool_)
    part = (high > 0).all(0) & (low[0] < width) & (low[1] < height)
    return np.asarray(part & (ahead > NEAREST), np.bool_)


def _seen_share(view: FrameView, spots: Vector, mesh: RayMesh) -> Vector:
    """(K,) share of a body's points at each spot that the camera sees past all things."""
    origin = np.array(view.origin)
    points = np.concatenate([np.c_[spots, np.full(len(spots), height)] for height in BODY])
    rays = points - origin
    length = np.linalg.norm(rays, axis=1)
    directions = (rays / length[:, None]).astype(np.float32)
    hits = cast([Placed(mesh)], view.origin, directions, Shadows((0.0, 0.0, 1.0), 0.0, 0), 0)
    seen = (hits.distance > length - 0.25).reshape(len(BODY), -1)
    return np.asarray(seen.mean(0), np.float64)
