"""Simple shapes with textures: quads, boxes, tubes, prisms, wheels, blobs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import Texture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """A texture times a colour."""

    texture: Texture
    tint: Float32s


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A piece of mesh.

    Attributes:
        vertices: (V, 3) float32 metres.
        faces: (F, 3) int32.
        texture: (F,) int64, texture of each face.
        frames: (F, 2, 4) float32; a point's texture coordinates are ``frames @ (x, y, z, 1)``.
        tint: (F, 3) float32, factors on the texture's reflectance.
    """

    vertices: Float32s
    faces: Int32s
    texture: NDArray[np.int64]
    frames: Float32s
    tint: Float32s

    def moved(self, x: float, y: float, z: float = 0.0, angle: float = 0.0) -> Part:
        """Turn by an angle (radians) about the z axis, then shift; the texture goes along."""
        turn = turning(angle)
        shift = np.array([x, y, z], np.float32)
        frames = self.frames.copy()
        frames[:, :, :3] = self.frames[:, :, :3] @ turn.T
        frames[:, :, 3] -= frames[:, :, :3] @ shift
        return Part(self.vertices @ turn.T + shift, self.faces, self.texture, frames, self.tint)


def turning(angle: float) -> Float32s:
    """(3, 3) rotation about the z axis."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], np.float32)


def join(parts: Iterable[Part]) -> Part:
    """Put parts into one."""
    listed = list(parts)
    starts = np.cumsum([0] + [len(part.vertices) for part in listed[:-1]])
    return Part(
        np.concatenate([part.vertices for part in listed]),
        np.concatenate(
            [part.faces + np.int32(start) for part, start in zip(listed, starts, strict=True)]
        ),
        np.concatenate([part.texture for part in listed]),
        np.concatenate([part.frames for part in listed]),
        np.concatenate([part.tint for part in listed]),
    )


def solid(vertices: NDArray[np.floating], faces: NDArray[np.integer], paint: Paint) -> Part:
    """Paint a mesh: each face by the two axes that it faces least.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) indices.
        paint: texture and colour.

    Returns:
        The part.
    """
    corners = vertices[faces]
    normals = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    axis = normals.argmax(axis=1)
    across, up = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    frames = np.zeros((len(faces), 2, 4), np.float32)
    rows = np.arange(len(faces))
    frames[rows, 0, across] = 1.0 / paint.texture.width
    frames[rows, 1, up] = 1.0 / paint.texture.height
    return Part(
        vertices.astype(np.float32),
        faces.astype(np.int32),
        np.full(len(faces), paint.texture.index, np.int64),
        frames,
        np.tile(paint.tint, (len(faces), 1)).astype(np.float32),
    )


def panel(corner: Point, across: Point, up: Point, paint: Paint) -> Part:
    """A parallelogram that shows its texture once, from its corner on.

    Args:
        corner: lower left corner.
        across: vector to the lower right corner.
        up: vector to the upper left corner.
        paint: texture and colour; the texture spans the panel exactly.

    Returns:
        The part.
    """
    origin, right, top = (np.asarray(vector, np.float32) for vector in (corner, across, up))
    vertices = np.stack([origin, origin + right, origin + right + top, origin + top])
    part = solid(vertices, np.array([[0, 1, 2], [0, 2, 3]]), paint)
    frames = np.zeros((2, 2, 4), np.float32)
    for row, vector in enumerate((right, top)):
        scaled = vector / float(vector @ vector)
        frames[:, row, :3] = scaled
        # A hair inside, so that the far edge does not show the near one.
        frames[:, row, 3] = 1e-4 - float(scaled @ origin)
        frames[:, row, :] *= 0.9998
    return Part(part.vertices, part.faces, part.texture, frames, part.tint)


BOX_FACES = np.array(
    [
        [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7],
        [2, 7, 6], [3, 0, 4], [3, 4, 7], [4, 5, 6], [4, 6, 7],
    ]
)  # fmt: skip


def box(size: Point, base: Point, paint: Paint, taper: float = 1.0) -> Part:
    """A box without a bottom, about the middle of its base; the top is ``taper`` times as wide."""
    ring = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * size[:2]
    low = np.column_stack([ring, np.zeros(4)])
    high = np.column_stack([ring * taper, np.full(4, size[2])])
    return solid(np.concatenate([low, high]) + base, BOX_FACES, paint)


def prism(outline: Sequence[tuple[float, float]], width: float, base: Point, paint: Paint) -> Part:
    """An outline in the x-z plane, convex, pulled along y to a width."""
    count = len(outline)
    flat = np.asarray(outline, np.float64)
    sides = [np.column_stack([flat[:, 0], np.full(count, y), flat[:, 1]]) for y in (-0.5, 0.5)]
    vertices = np.concatenate(sides) * [1.0, width, 1.0] + base
    near = np.arange(count)
    after = (near + 1) % count
    walls = [
        np.stack([near, after, after + count], 1),
        np.stack([near, after + count, near + count], 1),
    ]
    fan = np.stack([np.zeros(count - 2, int), near[1:-1], near[2:]], 1)
    return solid(vertices, np.concatenate([*walls, fan, fan + count]), paint)


def tube(path: Sequence[Point], radius: float, paint: Paint, sides: int = 5) -> Part:
    """A round bar along a path."""
    points = np.asarray(path, np.float64)
    ways = np.gradient(points, axis=0)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True) + 1e-9
    helper = np.where(np.abs(ways[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(ways, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(ways, first)
    angles = np.linspace(0.0, 2.0 * math.pi, sides, endpoint=False)[None, :, None]
    rings = points[:, None] + radius * (
        np.cos(angles) * first[:, None] + np.sin(angles) * second[:, None]
    )
    return solid(rings.reshape(-1, 3), _ring_faces(len(points), sides), paint)


def wheel(radius: float, width: float, centre: Point, paint: Paint, sides: int = 10) -> Part:
    """A disc that stands upright and rolls along x."""
    angles = np.linspace(0.0, 2.0 * math.pi, sides, endpoint=False)
    outline = [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
    return prism(outline, width, centre, paint)


def blob(rng: np.random.Generator, radii: Point, centre: Point, paint: Paint) -> Part:
    """A lumpy ellipsoid of 96 faces."""
    rings, sides = 7, 8
    polar = np.linspace(0.02, math.pi - 0.02, rings)[:, None, None]
    turn = np.linspace(0.0, 2.0 * math.pi, sides, endpoint=False)[None, :, None]
    sphere = np.concatenate(
        np.broadcast_arrays(
            np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)
        ),
        axis=2,
    )
    lumps = 1.0 + 0.16 * rng.standard_normal((rings, sides, 1))
    vertices = (sphere * lumps * radii).reshape(-1, 3) + centre
    part = solid(vertices, _ring_faces(rings, sides), paint)
    shade = rng.uniform(0.6, 1.3, (len(part.faces), 1)).astype(np.float32)
    return Part(part.vertices, part.faces, part.texture, part.frames, part.tint * shade)


def _ring_faces(rings: int, sides: int) -> NDArray[np.int64]:
    """Faces between neighbouring rings of vertices."""
    ring, side = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    first = (ring * sides + side).ravel()
    second = (ring * sides + (side + 1) % sides).ravel()
    low = np.stack([first, second, second + sides], 1)
    return np.concatenate([low, np.stack([first, second + sides, first + sides], 1)])
