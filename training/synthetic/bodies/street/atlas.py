"""All textures of a street in one array of bytes, with smaller copies for far surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]

LEVELS = 6
# Reflectances are stored as the root of their value: bytes are then fine in the dark too.
DECODED = ((np.arange(256) / 255.0) ** 2).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Texture:
    """A texture in the atlas.

    Attributes:
        index: its row in the atlas's tables.
        width: metres until it repeats across.
        height: metres until it repeats upwards.
    """

    index: int
    width: float
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Textures, ready to look up.

    Attributes:
        pixels: (T, 3) uint8, all textures and their smaller copies; roots of linear reflectance.
        offsets: (N * LEVELS,) int64, where each copy begins; a texture's copies follow each other.
        widths: (N * LEVELS,) int64, its columns.
        heights: (N * LEVELS,) int64, its rows.
        fineness: (N,) float32, texels per metre of the largest copy.
    """

    pixels: NDArray[np.uint8]
    offsets: Ints
    widths: Ints
    heights: Ints
    fineness: Float32s

    def look_up(self, texture: Ints, place: Float32s, footprint: Float32s | None) -> Float32s:
        """Return the reflectance at points of textures.

        Args:
            texture: (N,) indices of textures.
            place: (N, 2) float32, across and up in repeats of the texture; any value.
            footprint: (N,) float32 metres of surface that a pixel covers, or None for the finest.

        Returns:
            (N, 3) float32 linear reflectance.
        """
        level = self._level(texture, footprint)
        copy = texture * LEVELS + level
        width, height = self.widths[copy], self.heights[copy]
        across = ((place[:, 0] - np.floor(place[:, 0])) * width).astype(np.int64)
        up = ((place[:, 1] - np.floor(place[:, 1])) * height).astype(np.int64)
        # Rounding may make a share of just below 1 a whole one.
        index = np.minimum(up, height - 1) * width + np.minimum(across, width - 1)
        texels = self.pixels.take(index + self.offsets[copy], axis=0)
        return np.asarray(DECODED.take(texels), np.float32)

    def _level(self, texture: Ints, footprint: Float32s | None) -> Ints:
        if footprint is None:
            return np.zeros(len(texture), np.int64)
        texels = np.maximum(footprint * self.fineness[texture], 1.0)
        return np.asarray(np.minimum(np.log2(texels), LEVELS - 1), np.int64)


@dataclass(slots=True)
class AtlasBuilder:
    """Collects textures."""

    _pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    _offsets: list[int] = field(default_factory=list)
    _sizes: list[tuple[int, int]] = field(default_factory=list)
    _fineness: list[float] = field(default_factory=list)
    _length: int = 0

    def add(self, image: Float32s, fineness: float) -> Texture:
        """Add a texture.

        Args:
            image: (rows, columns, 3) linear reflectance, top row first.
            fineness: texels per metre.

        Returns:
            The texture.
        """
        flipped = np.sqrt(np.clip(image[::-1], 0.0, 1.0)) * 255.0 + 0.5
        finest = Image.fromarray(np.ascontiguousarray(flipped.astype(np.uint8)))
        for level in range(LEVELS):
            size = (max(1, finest.width >> level), max(1, finest.height >> level))
            copy = finest if level == 0 else finest.resize(size, Image.Resampling.BOX)
            self._offsets.append(self._length)
            self._sizes.append(size)
            self._pixels.append(np.asarray(copy, np.uint8).reshape(-1, 3))
            self._length += size[0] * size[1]
        self._fineness.append(fineness)
        rows, columns = image.shape[:2]
        return Texture(len(self._fineness) - 1, columns / fineness, rows / fineness)

    def build(self) -> Atlas:
        """Return the atlas of all textures added."""
        return Atlas(
            np.concatenate(self._pixels),
            np.asarray(self._offsets, np.int64),
            np.asarray([width for width, _ in self._sizes], np.int64),
            np.asarray([height for _, height in self._sizes], np.int64),
            np.asarray(self._fineness, np.float32),
        )
