"""Fit a part of a frame to the network's input, and take boxes back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Boxes = NDArray[np.float32]


class Region(NamedTuple):
    """A part of a frame, in pixels; right and bottom are excluded."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a region lies on the input: its shape is kept, and the border around it is black.

    Attributes:
        region: the part of the frame.
        width: columns of the input that it covers.
        height: rows of the input that it covers.
        left: columns of the border to its left.
        top: rows of the border above it.
    """

    region: Region
    width: int
    height: int
    left: int
    top: int

    def to_frame(self, boxes: Boxes) -> Boxes:
        """Take boxes from the input to the frame.

        Args:
            boxes: (K, 4) x1, y1, x2, y2 in pixels of the input.

        Returns:
            (K, 4) x1, y1, x2, y2 in pixels of the frame; not clipped to it.
        """
        left, top, right, bottom = self.region
        border = np.array([self.left, self.top] * 2, dtype=np.float32)
        scale = np.array([self.width / (right - left), self.height / (bottom - top)] * 2)
        corner = np.array([left, top] * 2, dtype=np.float32)
        return np.asarray((boxes - border) / scale.astype(np.float32) + corner, dtype=np.float32)


def fit(region: Region, height: int, width: int) -> Fit:
    """Make a region as large as the input allows, and centre it.

    Args:
        region: a part of a frame.
        height: rows of the input.
        width: columns of the input.

    Returns:
        Where it lies on the input.
    """
    across, down = region.right - region.left, region.bottom - region.top
    scale = min(height / down, width / across)
    covered_width = min(width, max(1, round(across * scale)))
    covered_height = min(height, max(1, round(down * scale)))
    return Fit(
        region,
        width=covered_width,
        height=covered_height,
        left=(width - covered_width) // 2,
        top=(height - covered_height) // 2,
    )


def draw(frame: Image.Image, place: Fit, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a region of a frame on the input; shrinking is antialiased.

    Args:
        frame: RGB.
        place: where the region lies.
        height: rows of the input.
        width: columns of the input.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    size = (place.width, place.height)
    resized = frame.resize(size, Image.Resampling.BILINEAR, box=place.region)
    rows = slice(place.top, place.top + place.height)
    columns = slice(place.left, place.left + place.width)
    picture[rows, columns] = np.asarray(resized)
    return picture
