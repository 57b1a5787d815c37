"""Simple solids that bags, hair, hats, prams and seats are made of."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Mesh = tuple[Float32s, Int32s]


def superellipsoid(
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    power: float = 2.0,
    around: int = 20,
    rings: int = 12,
) -> Mesh:
    """Build a superellipsoid: a ball at power 2, nearly a box at 8.

    Args:
        centre: metres.
        radii: half its size along each axis, metres.
        power: 2 or more.
        around: vertices around the vertical axis.
        rings: vertices from bottom to top.

    Returns:
        (V, 3) float32 vertices and (F, 3) int32 faces, seen from outside.
    """
    points, faces = _unit(power, around, rings)
    return (points * vector(*radii) + vector(*centre)).astype(np.float32), faces


def vector(x: float, y: float, z: float) -> Float32s:
    """Make a point or a direction.

    Args:
        x: metres.
        y: metres.
        z: metres.

    Returns:
        (3,) float32.
    """
    return np.array([x, y, z], dtype=np.float32)


@lru_cache(maxsize=32)
def _unit(power: float, around: int, rings: int) -> Mesh:
    angle = np.linspace(0.0, 2 * np.pi, around, endpoint=False)
    height = np.linspace(-np.pi / 2, np.pi / 2, rings)[:, None]
    points = np.stack(
        np.broadcast_arrays(
            _bend(np.cos(height), power) * _bend(np.cos(angle), power),
            _bend(np.cos(height), power) * _bend(np.sin(angle), power),
            _bend(np.sin(height), power) + 0.0 * angle,
        ),
        axis=-1,
    )
    return points.reshape(-1, 3).astype(np.float32), grid_faces(rings, around)


def _bend(value: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    return np.sign(value) * np.abs(value) ** (2.0 / power)


@lru_cache(maxsize=32)
def grid_faces(rings: int, around: int) -> Int32s:
    """Join rings of vertices into a tube.

    Args:
        rings: number of rings, the lowest first.
        around: vertices of a ring, counterclockwise seen from above.

    Returns:
        (2 (rings - 1) around, 3) int32, seen from outside.
    """
    ring, step = np.meshgrid(np.arange(rings - 1), np.arange(around), indexing="ij")
    a, b = ring * around + step, ring * around + (step + 1) % around
    c, d = a + around, b + around
    return (
        np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], -2)
        .reshape(-1, 3)
        .astype(np.int32)
    )


def tube(
    start: NDArray[np.floating], end: NDArray[np.floating], radius: float, around: int = 8
) -> Mesh:
    """Build a round bar between two points.

    Args:
        start: (3,) metres.
        end: (3,) metres.
        radius: metres.
        around: vertices of each end.

    Returns:
        Vertices and faces, without caps.
    """
    axis = (end - start) / np.linalg.norm(end - start)
    other = np.eye(3)[int(np.argmin(np.abs(axis)))]
    side = np.cross(axis, other)
    side /= np.linalg.norm(side)
    across = np.cross(axis, side)
    angle = np.linspace(0.0, 2 * np.pi, around, endpoint=False)[:, None]
    ring = radius * (np.cos(angle) * side + np.sin(angle) * across)
    return np.concatenate([start + ring, end + ring]).astype(np.float32), grid_faces(2, around)


def placed(points: NDArray[np.floating], x: float, y: float, yaw: float) -> NDArray[np.float64]:
    """Put something at a place of the world.

    Args:
        points: (N, 3) about its own origin, metres.
        x: metres.
        y: metres.
        yaw: turn to the left about the vertical axis, radians.

    Returns:
        (N, 3) float64, metres.
    """
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(points @ turn + np.array([x, y, 0.0]), dtype=np.float64)


def vertex_normals(vertices: Float32s, faces: Int32s) -> Float32s:
    """Average the normals of the faces around each vertex, weighted by their area.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.

    Returns:
        (V, 3) float32, unit length; zero where no face is.
    """
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    face = np.cross(second - first, third - first)
    starts = np.arange(0, faces.size + 1, 3)
    around = csc_array(
        (np.ones(faces.size, np.float32), faces.ravel(), starts), (len(vertices), len(faces))
    )
    total = around @ face.astype(np.float32)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, 1e-12), dtype=np.float32)
