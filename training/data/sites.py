"""Join several data sets for one run: each is a site, and people are not matched across sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.data.datasets import UNKNOWN, Dataset, Sample


def join_sites(datasets: Sequence[Dataset]) -> tuple[tuple[Sample, ...], NDArray[np.int64]]:
    """Join the training crops of all data sets, and renumber cameras, people, tracks and frames.

    Args:
        datasets: at least one.

    Returns:
        The samples, one data set after the other; and (cameras,) int64, the site of each camera.
    """
    samples: list[Sample] = []
    sites: list[int] = []
    people = tracks = frames = 0
    for site, dataset in enumerate(datasets):
        cameras = len(sites)
        samples += [_shift(s, cameras, people, tracks, frames) for s in dataset.train]
        sites += [site] * len(dataset.cameras)
        people = 1 + max(sample.identity for sample in samples)
        tracks = 1 + max(sample.track for sample in samples)
        frames = 1 + max(sample.frame for sample in samples)
    return tuple(samples), np.array(sites, dtype=np.int64)


def _shift(sample: Sample, cameras: int, people: int, tracks: int, frames: int) -> Sample:
    return replace(
        sample,
        camera=sample.camera + cameras,
        identity=_after(sample.identity, people),
        track=_after(sample.track, tracks),
        frame=_after(sample.frame, frames),
    )


def _after(number: int, others: int) -> int:
    return number if number == UNKNOWN else number + others
