"""A service without weights, for our tests and for tests of programs that build on this one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.embedding.embedder import check_batch
from service.model.manifest import Calibration, Manifest

TINY_CALIBRATION = Calibration(
    slope=12.0,
    intercept=-6.0,
    threshold=0.5,
    false_match_rate=0.01,
    true_match_rate=0.8,
    genuine_pairs=100,
    impostor_pairs=10_000,
    data="invented",
)
TINY_MANIFEST = Manifest(
    name="fake",
    sha256=hashlib.sha256(b"fake").hexdigest(),
    input_height=64,
    input_width=32,
    dimension=32,
    training_data="none",
    calibration=TINY_CALIBRATION,
)


@dataclass(frozen=True)
class FakeEmbedder:
    """An embedder without a network: crops of similar colours get similar embeddings.

    It projects the mean colours of a grid of cells with a fixed random matrix. Equal pixels give
    equal embeddings, in every process and in every batch.

    Attributes:
        manifest: input size and dimension.
        provider: what it claims to run on.
        fault: called with each image (H, W, 3) before the batch is embedded; may raise.
        delay: how many seconds a run takes.
    """

    manifest: Manifest = TINY_MANIFEST
    provider: str = "cpu"
    fault: Callable[[NDArray[np.uint8]], None] | None = None
    delay: float = 0.0
    _projection: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    rows = 4
    columns = 2

    def __post_init__(self) -> None:
        features = self.rows * self.columns * 3 + 1
        normal = np.random.default_rng(0).normal(size=(features, self.manifest.dimension))
        object.__setattr__(self, "_projection", normal)

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            (N, D) float32, rows of unit length.
        """
        check_batch(images, self.manifest)
        if self.fault is not None:
            for image in images:
                self.fault(image)
        time.sleep(self.delay)
        return np.stack([self._embed_one(image) for image in images])

    def _embed_one(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        cells = [
            cell.mean(axis=(0, 1))
            for band in np.array_split(image / 127.5 - 1.0, self.rows, axis=0)
            for cell in np.array_split(band, self.columns, axis=1)
        ]
        features = np.append(np.ravel(cells), 0.1)  # so that plain grey has a direction too
        embedding = features @ self._projection
        return np.asarray(embedding / np.linalg.norm(embedding), dtype=np.float32)


Kind = Literal["JPEG", "PNG", "WEBP", "BMP", "TIFF"]


def encode(pixels: NDArray[np.uint8], kind: Kind = "PNG") -> bytes:
    """Encode pixels as an image file.

    Args:
        pixels: (H, W, 3) RGB, or (H, W) grey.
        kind: the file's format; PNG keeps every pixel.

    Returns:
        The bytes of the file.
    """
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def solid(
    colour: tuple[int, int, int],
    height: int = 64,
    width: int = 32,
    kind: Kind = "JPEG",
) -> bytes:
    """Draw an image of one colour.

    Args:
        colour: red, green and blue, 0..255 each.
        height: number of rows.
        width: number of columns.
        kind: the file's format.

    Returns:
        The bytes of the file.
    """
    return encode(np.full((height, width, 3), colour, dtype=np.uint8), kind)
