"""Noise that tiles, and colours as linear reflectance."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Float32s = NDArray[np.float32]


def linear(colour: Sequence[float]) -> Float32s:
    """Linear reflectance of an sRGB colour 0..255, by a plain gamma of 2.2."""
    return np.asarray((np.asarray(colour, np.float32) / 255.0) ** 2.2, np.float32)


def pick(
    rng: np.random.Generator, palette: Sequence[tuple[int, int, int]], spread: float = 0.08
) -> Float32s:
    """Linear colour near one of a palette; brightness varies by ``spread``, hue by half of it."""
    colour = linear(palette[int(rng.integers(len(palette)))])
    factor = np.exp(rng.normal(0.0, 2.0 * spread) + rng.normal(0.0, spread, 3))
    return np.asarray(np.clip(colour * factor, 0.005, 0.85), np.float32)


def clouds(rng: np.random.Generator, shape: tuple[int, int], rough: float = 1.4) -> Float32s:
    """Noise of all sizes that tiles.

    Args:
        rng: source of randomness.
        shape: rows, columns.
        rough: exponent of the fall of the spectrum; 0 is white noise, 2 is soft clouds.

    Returns:
        ``shape`` float32 of mean 0 and standard deviation 1.
    """
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    noise = np.fft.irfft2(spectrum * _fall(shape, rough), s=shape)
    noise -= noise.mean()
    return np.asarray(noise / (noise.std() + 1e-9), np.float32)


@lru_cache(maxsize=64)
def _fall(shape: tuple[int, int], rough: float) -> Float32s:
    rows = np.fft.fftfreq(shape[0])[:, None]
    columns = np.fft.rfftfreq(shape[1])[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1.0
    fall = frequency**-rough
    fall[0, 0] = 0.0
    return np.asarray(fall, np.float32)
