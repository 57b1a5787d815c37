"""Crops of drawn people, to compare two networks without any data."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.embedding.imaging import Resize
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.synthetic import SyntheticOptions, synthesize


@lru_cache(maxsize=1)  # drawing takes half a second, and one wrap or export needs one size
def draw_crops(height: int, width: int, resize: Resize) -> NDArray[np.uint8]:
    """Draw six people, four crops of each by two cameras.

    Args:
        height: pixels.
        width: pixels.
        resize: the interpolation.

    Returns:
        (48, H, W, 3) uint8 RGB, the same at each call; read-only.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "drawn")
        synthesize(folder, SyntheticOptions(identities=6, cameras=2, crops=4))
        drawn = read_dataset(DataSource(folder))
        samples = (*drawn.train, *drawn.query, *drawn.gallery)
        pixels = load_images(samples, height, width, resize=resize).pixels
    pixels.flags.writeable = False
    return pixels
