"""Tiles of noise that repeat without a seam: creases in three directions, blotches, weave.

Each is made once per process, always from the same seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from training.synthetic.bodies.chart import Float32s

TEXELS = 256  # a power of two, so that masks wrap indices around
TILE = 0.45  # metres that a tile covers


def texels(tile: Float32s, rows: Float32s, columns: Float32s, shift: int) -> Float32s:
    """Look up a tile that repeats.

    Args:
        tile: (TEXELS, TEXELS) or (TEXELS, TEXELS, C).
        rows: (N,) between -8 and 8 tiles, in texels.
        columns: (N,) likewise.
        shift: moves the tile, differently along rows and columns.

    Returns:
        (N,) or (N, C).
    """
    # The conversion cuts towards 0; many tiles further, where all is positive, that is down.
    far = 16 * TEXELS
    row = (rows + np.float32(far + 31 * shift % TEXELS)).astype(np.int32) & (TEXELS - 1)
    column = (columns + np.float32(far + shift % TEXELS)).astype(np.int32) & (TEXELS - 1)
    flat = tile.reshape(TEXELS * TEXELS, *tile.shape[2:])
    found: Float32s = np.take(flat, row * TEXELS + column, axis=0)
    return found


@lru_cache(maxsize=1)
def pulled_tile() -> Float32s:
    """Long folds that rise at about 50 degrees."""
    return _creased(((0.09, 0.017, 52.0), (0.06, 0.011, 36.0)), 11)


@lru_cache(maxsize=1)
def stacked_tile() -> Float32s:
    """Short folds across the limb, slightly tilted."""
    return _creased(((0.06, 0.012, 8.0), (0.05, 0.010, -12.0)), 12)


@lru_cache(maxsize=1)
def draped_tile() -> Float32s:
    """Long folds that hang down."""
    return _creased(((0.16, 0.02, 88.0), (0.12, 0.014, 93.0)), 13)


@lru_cache(maxsize=1)
def blotch_tile() -> Float32s:
    """Round blotches of about 4 cm."""
    return _noise((0.014, 0.014, 0.0), np.random.default_rng(14))


@lru_cache(maxsize=1)
def weave_tile() -> Float32s:
    """Fine grain, a little longer upwards than across."""
    return _noise((0.004, 0.0022, 90.0), np.random.default_rng(15))


def _creased(octaves: tuple[tuple[float, float, float], ...], seed: int) -> Float32s:
    """Make folds: rounded ridges with narrow valleys, deep in some places and flat in others.

    Args:
        octaves: length, width in metres and direction in degrees of each set of folds.
        seed: of the noise.

    Returns:
        (TEXELS, TEXELS, 3) height with deviation 1, and its slopes, scaled to deviation 0.3.
    """
    rng = np.random.default_rng(seed)
    height = np.zeros((TEXELS, TEXELS), np.float64)
    for index, octave in enumerate(octaves):
        depth = np.clip(0.45 + 0.7 * _noise((0.05, 0.05, 0.0), rng), 0.0, 1.6)
        ridge = np.sqrt(_noise(octave, rng).astype(np.float64) ** 2 + 0.03)
        height += 0.6**index * depth * ridge
    height = (height - height.mean()) / height.std()
    along, around = np.gradient(np.pad(height, 1, mode="wrap"))
    slopes = np.stack([around[1:-1, 1:-1], along[1:-1, 1:-1]], axis=2)
    slopes *= 0.3 / slopes.std()
    return np.concatenate([height[:, :, None], slopes], axis=2).astype(np.float32)


def _noise(octave: tuple[float, float, float], rng: np.random.Generator) -> Float32s:
    """Blur white noise in one direction more than in the other, over a tile that repeats.

    Args:
        octave: blur along and across a direction in metres, and that direction in degrees.
        rng: the random stream.

    Returns:
        (TEXELS, TEXELS) with mean 0 and deviation 1.
    """
    length, width, degrees = octave
    wave = 2.0 * np.pi * np.fft.fftfreq(TEXELS, TILE / TEXELS)
    up, across = np.meshgrid(wave, wave, indexing="ij")
    turn = np.deg2rad(degrees)
    lengthways = across * np.cos(turn) + up * np.sin(turn)
    widthways = -across * np.sin(turn) + up * np.cos(turn)
    blur = np.exp(-0.5 * ((lengthways * length) ** 2 + (widthways * width) ** 2))
    blur[0, 0] = 0.0
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((TEXELS, TEXELS))) * blur).real
    noise: Float32s = (field / field.std()).astype(np.float32)
    return noise
