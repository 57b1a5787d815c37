"""The frame of a fixed camera: which direction each pixel looks in, and where points appear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.camera import FRAME_WIDTH
from training.synthetic.bodies.site import Site
from training.synthetic.bodies.view import Box, Float32s, View

TARGET_HEIGHT = 0.85  # metres; the middle of a person
NEAREST = 0.2  # metres; nearer points have no place in a frame


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A rectangle in a frame; (0, 0) is the upper left corner of the upper left pixel.

    Attributes:
        left: pixels.
        top: pixels.
        right: pixels.
        bottom: pixels.
    """

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    def clipped(self, size: tuple[int, int]) -> PixelBox | None:
        """The part within a frame.

        Args:
            size: (height, width) of the frame, pixels.

        Returns:
            The part, or None if there is none.
        """
        left, top = max(0.0, self.left), max(0.0, self.top)
        right, bottom = min(float(size[1]), self.right), min(float(size[0]), self.bottom)
        return PixelBox(left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True, slots=True, eq=False)
class FrameView:
    """A camera that does not move.

    Attributes:
        view: where it is and looks.
        focal: pixels on the plane one metre ahead.
        size: (height, width) of its frames, pixels.
    """

    view: View
    focal: float
    size: tuple[int, int]

    @property
    def origin(self) -> tuple[float, float, float]:
        """Where the camera is, metres."""
        x, y, z = map(float, self.view.origin)
        return x, y, z

    def rays(self, box: tuple[int, int, int, int] | None = None, step: int = 1) -> Float32s:
        """Directions through the middles of pixels.

        Args:
            box: (left, top, right, bottom), whole pixels, also beyond the frame; None is the frame.
            step: take one ray for so many pixels; the box's sides must be its multiples.

        Returns:
            (H, W, 3) float32, unit length.
        """
        height, width = self.size
        left, top, right, bottom = box or (0, 0, width, height)
        x = (np.array([left, right]) - width / 2) / self.focal
        y = (height / 2 - np.array([bottom, top])) / self.focal
        plane = Box(float(x[0]), float(y[0]), float(x[1]), float(y[1]))
        return self.view.rays(plane, ((bottom - top) // step, (right - left) // step))

    def pixels(
        self, points: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where points appear.

        Args:
            points: (N, 3) metres.

        Returns:
            (N, 2) x to the right and y down, pixels, and (N,) depth in metres; points with a depth
            of 0 or less are behind the camera.
        """
        flat, depth = self.view.project(points)
        middle = np.array([self.size[1], self.size[0]]) / 2
        return middle + flat * [self.focal, -self.focal], depth

    def box_of(self, points: NDArray[np.floating]) -> PixelBox | None:
        """The smallest box around points.

        Args:
            points: (N, 3) metres.

        Returns:
            The box, or None if a point is behind or beside the camera.
        """
        pixels, depth = self.pixels(points)
        if depth.min() < NEAREST:
            return None
        (left, top), (right, bottom) = pixels.min(0), pixels.max(0)
        return PixelBox(float(left), float(top), float(right), float(bottom))


def frame_view(site: Site, index: int, size: tuple[int, int]) -> FrameView:
    """Point a camera at the middle of the ground on which it sees people.

    Args:
        site: where.
        index: of the camera.
        size: (height, width) of its frames, pixels.

    Returns:
        The view; a frame shows as much as one 1280 pixels wide would.
    """
    camera, vantage = site.camera(index), site.vantage(index)
    spots = vantage.clear if len(vantage.clear) else np.zeros((1, 2))
    middle = spots.mean(0)
    origin = np.array([vantage.x, vantage.y, camera.place.height])
    if math.hypot(vantage.x - middle[0], vantage.y - middle[1]) < 1.0:
        middle = np.zeros(2)
    target = np.array([middle[0], middle[1], TARGET_HEIGHT])
    focal = camera.place.focal * size[1] / FRAME_WIDTH
    return FrameView(View.towards(origin, target), focal, size)
