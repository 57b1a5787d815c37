"""Projection: where a camera sees points of the world, and the rays through its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the plane one metre in front of a camera: x to the right, y up.

    Attributes:
        left: smallest x.
        bottom: smallest y.
        right: largest x.
        top: largest y.
    """

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """Width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height."""
        return self.top - self.bottom


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A pinhole camera, without lens or sensor.

    Attributes:
        origin: (3,) where it is, metres.
        forward: (3,) unit direction that it looks in.
        right: (3,) unit direction of a picture's right.
        up: (3,) unit direction of a picture's top.
    """

    origin: Vector
    forward: Vector
    right: Vector
    up: Vector

    @classmethod
    def towards(cls, origin: Vector, target: Vector, roll: float = 0.0) -> View:
        """Look from one point at another.

        Args:
            origin: (3,) metres.
            target: (3,) metres; not straight below or above.
            roll: turn of the picture, radians.

        Returns:
            The view.
        """
        forward = (target - origin) / np.linalg.norm(target - origin)
        level = np.cross(forward, [0.0, 0.0, 1.0])
        level /= np.linalg.norm(level)
        above = np.cross(level, forward)
        right = math.cos(roll) * level + math.sin(roll) * above
        return cls(origin, forward, right, np.cross(right, forward))

    def project(self, points: NDArray[np.floating]) -> tuple[Vector, Vector]:
        """Find where points appear.

        Args:
            points: (N, 3) metres.

        Returns:
            (N, 2) on the plane one metre ahead, and (N,) depth in metres; points behind the camera
            have a depth of 0 or less.
        """
        offset = points - self.origin
        depth = offset @ self.forward
        scale = np.where(depth > 1e-6, depth, np.inf)[:, None]
        return np.stack([offset @ self.right, offset @ self.up], 1) / scale, depth

    def box_of(self, points: NDArray[np.floating]) -> Box:
        """The smallest box around points in front of the camera.

        Args:
            points: (N, 3) metres.

        Returns:
            The box.
        """
        flat, _ = self.project(points)
        low, high = flat.min(0), flat.max(0)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def rays(self, box: Box, size: tuple[int, int], supersampling: int = 1) -> Float32s:
        """Directions through the pixels of a box.

        Args:
            box: what the picture shows.
            size: (height, width), pixels.
            supersampling: rays per pixel and direction.

        Returns:
            (height * supersampling, width * supersampling, 3) float32, unit length; row 0 is the
            top.
        """
        rows, columns = size[0] * supersampling, size[1] * supersampling
        x = box.left + (np.arange(columns) + 0.5) / columns * box.width
        y = box.top - (np.arange(rows) + 0.5) / rows * box.height
        rays = self.forward + x[None, :, None] * self.right + y[:, None, None] * self.up
        rays /= np.linalg.norm(rays, axis=2, keepdims=True)
        return rays.astype(np.float32)
