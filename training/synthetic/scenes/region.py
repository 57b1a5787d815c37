"""Which parts of a frame people change: where they are seen, where they shade, where they cover."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.synthetic.bodies.camera import Light
from training.synthetic.bodies.rays import SHADOW_REACH, Placed, RayMesh, Shadows, cast
from training.synthetic.scenes.frame import FrameView, PixelBox

Bools = NDArray[np.bool_]
Vector = NDArray[np.float64]

STEP = 4  # pixels between the rays of the coarse picture of the street
COVER = 1.25  # metres around somebody where the street is covered a little
BALLS = 4  # above each other; together they hold a person
STRIP = 8  # coarse rows in a part: slanting shadows fill low parts better than high ones
Part = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Extent:
    """The room that somebody takes.

    Attributes:
        x: metres.
        y: metres.
        radius: of the upright cylinder that holds the person, metres.
        height: metres.
        box: where the person appears; None if out of the frame.
    """

    x: float
    y: float
    radius: float
    height: float
    box: PixelBox | None


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """The empty street, with one point for :data:`STEP` x :data:`STEP` pixels.

    Attributes:
        points: (H, W, 3) float64, metres; far away where nothing is.
        solid: (H, W) bool, whether there is something.
    """

    points: Vector
    solid: Bools


def look_coarsely(view: FrameView, street: RayMesh) -> Coarse:
    """See where the empty street lies.

    Args:
        view: of the camera.
        street: its mesh.

    Returns:
        The points.
    """
    height, width = (math.ceil(side / STEP) for side in view.size)
    rays = view.rays((0, 0, width * STEP, height * STEP), STEP)
    flat = rays.reshape(-1, 3)
    hits = cast([Placed(street)], view.origin, flat, Shadows((0.0, 0.0, 1.0), 0.0, 0), 0)
    points = np.array(view.origin) + flat.astype(np.float64) * hits.distance[:, None]
    return Coarse(points.reshape(height, width, 3), (hits.solid >= 0).reshape(height, width))


def changed_parts(
    people: list[Extent], coarse: Coarse, light: Light, size: tuple[int, int]
) -> list[Part]:
    """Find the parts of a frame that differ from the empty street.

    Args:
        people: everybody who is near, also outside the frame.
        coarse: the empty street.
        light: whose shadows fall.
        size: (height, width) of the frame, pixels.

    Returns:
        (left, top, right, bottom) of each part, whole pixels. Only the shadow on things thinner
        than :data:`STEP` pixels may be missed.
    """
    changed = np.zeros(coarse.solid.shape, dtype=bool)
    for person in people:
        near = np.hypot(coarse.points[..., 0] - person.x, coarse.points[..., 1] - person.y)
        changed |= coarse.solid & (near < COVER)
        changed |= coarse.solid & _shaded(person, coarse.points, light)
        box = person.box.clipped(size) if person.box else None
        if box:
            rows = slice(int(box.top) // STEP, math.ceil(box.bottom / STEP))
            columns = slice(int(box.left) // STEP, math.ceil(box.right / STEP))
            changed[rows, columns] = True
    changed = ndimage.binary_dilation(changed, np.ones((3, 3), dtype=bool))
    return [part for top in range(0, len(changed), STRIP) for part in _strip(changed, top, size)]


def _shaded(person: Extent, points: Vector, light: Light) -> Bools:
    """Points from which a part of the sun may lie behind the balls that hold a person."""
    shaded = np.zeros(points.shape[:2], dtype=bool)
    half = person.height / BALLS / 2
    ball = math.hypot(person.radius, half)
    wide = math.asin(min(1.0, light.softness))
    for index in range(BALLS):
        offset = np.array([person.x, person.y, (2 * index + 1) * half]) - points
        distance = np.linalg.norm(offset, axis=2)
        angle = np.arccos(np.clip(offset @ light.sun / np.maximum(distance, 1e-9), -1.0, 1.0))
        seems = np.arcsin(np.clip(ball / np.maximum(distance, 1e-9), 0.0, 1.0))
        shaded |= (angle < wide + seems) & (distance < SHADOW_REACH + ball)
        shaded |= distance < ball
    return shaded


def _strip(changed: Bools, top: int, size: tuple[int, int]) -> list[Part]:
    """The parts between two heights: one per run of columns that change."""
    rows = changed[top : top + STRIP]
    runs, _ = ndimage.label(rows.any(0))
    bottom = min(size[0], (top + len(rows)) * STEP)
    return [
        (columns.start * STEP, top * STEP, min(size[1], columns.stop * STEP), bottom)
        for (columns,) in ndimage.find_objects(runs)
    ]
