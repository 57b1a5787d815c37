"""What is seen where nothing stands: sky, clouds, far roofs and trees; or a hall's upper walls."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from training.synthetic.bodies.street.noise import clouds, linear, pick
from training.synthetic.bodies.street.surfaces import PLASTERS

Float32s = NDArray[np.float32]

ROWS, COLUMNS = 192, 1024
LOWEST, HIGHEST = -0.06, 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Sky:
    """A panorama.

    Attributes:
        image: (192, 1024, 3) float32, light as a share of the sky's; columns go once round, rows
            rise from -0.06 to 0.9 radians above the horizon.
    """

    image: Float32s

    def look(self, directions: Float32s) -> Float32s:
        """Return the light from directions, (N, 3) unit vectors, as (N, 3) float32."""
        azimuth = np.arctan2(directions[:, 1], directions[:, 0]) * (COLUMNS / (2.0 * math.pi))
        elevation = np.arcsin(np.clip(directions[:, 2], -1.0, 1.0))
        row = (elevation - LOWEST) * ((ROWS - 1) / (HIGHEST - LOWEST))
        row = np.clip(row, 0.0, ROWS - 1.001)
        low, left = np.floor(row).astype(np.int64), np.floor(azimuth).astype(np.int64)
        up, right = (row - low)[:, None], (azimuth - left)[:, None]
        first, second = left % COLUMNS, (left + 1) % COLUMNS
        near = self.image[low, first] * (1.0 - right) + self.image[low, second] * right
        far = self.image[low + 1, first] * (1.0 - right) + self.image[low + 1, second] * right
        return np.asarray(near * (1.0 - up) + far * up, np.float32)


def open_sky(rng: np.random.Generator) -> Sky:
    """Draw a sky with clouds, and the outlines of far houses and trees before it."""
    height = np.linspace(LOWEST, HIGHEST, ROWS)[:, None, None]
    zenith = linear((rng.uniform(110, 190), rng.uniform(150, 200), 225)) * 1.7
    horizon = linear((225, 230, 235)) * 2.0
    share = np.clip(height / 0.7, 0.0, 1.0) ** 0.6
    image = np.broadcast_to(horizon + share * (zenith - horizon), (ROWS, COLUMNS, 3)).copy()
    cover = rng.uniform(-1.5, 1.5) + clouds(rng, (ROWS, COLUMNS), 1.7)
    white = np.clip(0.6 * cover, 0.0, 0.9)[:, :, None]
    image += white * (linear((238, 238, 240)) * 2.1 - image)
    _houses(image, rng)
    _treeline(image, rng)
    return Sky(np.asarray(image, np.float32))


def hall(rng: np.random.Generator) -> Sky:
    """Draw the upper part of a hall: pale walls and rows of lamps."""
    colour = pick(rng, PLASTERS) * rng.uniform(0.5, 1.0)
    image = np.empty((ROWS, COLUMNS, 3), np.float32)
    image[:] = colour * np.linspace(0.9, 1.2, ROWS)[:, None, None]
    image[: ROWS // 8] *= 0.7
    for row in range(ROWS // 4, ROWS, int(rng.integers(14, 30))):
        image[row : row + 3, (np.arange(COLUMNS) // 24) % 2 == 0] = 2.6
        image[row + 3 : row + 5] *= 0.8
    return Sky(image)


def _row(elevation: float) -> int:
    return round((elevation - LOWEST) / (HIGHEST - LOWEST) * ROWS)


def _houses(image: NDArray[np.floating], rng: np.random.Generator) -> None:
    column = 0
    haze = linear((210, 215, 222))
    while column < COLUMNS:
        width = int(rng.integers(10, 60))
        top = _row(rng.uniform(0.0, 0.16))
        colour = pick(rng, PLASTERS) * 1.1 + 0.25 * haze
        image[:top, column : column + width] = colour
        windows = np.zeros((top, image[:top, column : column + width].shape[1]), bool)
        windows[1::4, ::3] = True
        image[:top, column : column + width][windows] *= 0.45
        column += width + int(rng.integers(0, 30))


def _treeline(image: NDArray[np.floating], rng: np.random.Generator) -> None:
    edge = gaussian_filter1d(rng.standard_normal(COLUMNS), 6.0, mode="wrap")
    edge = 0.03 + 0.05 * edge / edge.std() + 0.008 * rng.standard_normal(COLUMNS)
    rows = np.linspace(LOWEST, HIGHEST, ROWS)[:, None]
    trees = rows < edge[None, :]
    green = linear((rng.uniform(66, 100), rng.uniform(84, 106), rng.uniform(56, 76)))
    texture = green * np.exp(0.35 * clouds(rng, (ROWS, COLUMNS), 0.7))[:, :, None]
    image[trees] = texture[trees]
