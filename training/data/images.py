"""Decode samples into one array of pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.embedding.imaging import Resize, decode
from service.errors import ReidError
from training.data.datasets import Sample
from training.data.entries import DataError, Skipped


@dataclass(frozen=True, slots=True)
class Images:
    """Decoded samples: image i shows sample i.

    Attributes:
        pixels: (N, H, W, 3) uint8 RGB.
        samples: the N samples that could be decoded, in their original order.
        skipped: the samples that could not be decoded, and why.
    """

    pixels: NDArray[np.uint8]
    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]


def load_images(
    samples: Sequence[Sample],
    height: int,
    width: int,
    *,
    resize: Resize = "bicubic",
    skip_bad: bool = False,
    out: NDArray[np.uint8] | None = None,
) -> Images:
    """Decode samples into one array, with several threads.

    Args:
        samples: N samples.
        height: pixels.
        width: pixels.
        resize: interpolation of the network's input, named as in the manifest.
        skip_bad: skip and list unreadable images, instead of stopping at the first.
        out: (N, H, W, 3) uint8 to decode into, such as a mapped file; None allocates an array.

    Returns:
        The images, and the samples they show.

    Raises:
        DataError: an image is unreadable and ``skip_bad`` is off, or no image is readable.
    """
    pixels = np.empty((len(samples), height, width, 3), np.uint8) if out is None else out

    def load(index: int) -> str | None:
        try:
            data = samples[index].path.read_bytes()
            pixels[index] = decode(data, height, width, resize=resize)
        except OSError as error:
            return error.strerror or str(error)
        except ReidError as error:
            return str(error)
        return None

    skipped: dict[int, Skipped] = {}
    for index, reason in enumerate(_in_threads(load, len(samples))):
        if reason is not None:
            skipped[index] = Skipped(samples[index].path, reason)
            if not skip_bad or len(skipped) == len(samples):
                raise DataError(f"{skipped[index].path}: {reason}")
    kept = [index for index in range(len(samples)) if index not in skipped]
    return Images(
        pixels=_keep_rows(pixels, kept),
        samples=tuple(samples[index] for index in kept),
        skipped=tuple(skipped.values()),
    )


def _in_threads(load: Callable[[int], str | None], count: int) -> Iterator[str | None]:
    """Yield ``load(0)`` to ``load(count - 1)`` in order; closing the iterator cancels the rest."""
    pool = ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1))
    try:
        # disable=None: no progress bar unless the output is a terminal
        yield from tqdm(pool.map(load, range(count)), "decode", count, unit="img", disable=None)
    finally:
        pool.shutdown(cancel_futures=True)


def _keep_rows(pixels: NDArray[np.uint8], kept: Sequence[int]) -> NDArray[np.uint8]:
    """Move the kept rows to the front in place: a copy would need twice the memory."""
    if len(kept) < len(pixels):
        for target, row in enumerate(kept):
            pixels[target] = pixels[row]
    return pixels[: len(kept)]
