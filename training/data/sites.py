"""Join several data sets for one run: each is a site, and people are not matched across sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.data.datasets import UNKNOWN, Dataset, Sample


def join_sites(datasets: Sequence[Dataset]) -> tuple[tuple[Sample, ...], NDArray[np.int64]]:
    """Join the training crops of all data sets, and renumber cameras and identities.

    Args:
        datasets: at least one.

    Returns:
        The samples, one data set after the other; and (cameras,) int64, the site of each camera.
    """
    samples: list[Sample] = []
    sites: list[int] = []
    people = 0
    for site, dataset in enumerate(datasets):
        cameras = len(sites)
        samples += [_shift(sample, cameras, people) for sample in dataset.train]
        sites += [site] * len(dataset.cameras)
        people = 1 + max(sample.identity for sample in samples)
    return tuple(samples), np.array(sites, dtype=np.int64)


def _shift(sample: Sample, cameras: int, people: int) -> Sample:
    identity = sample.identity if sample.identity == UNKNOWN else sample.identity + people
    return replace(sample, camera=sample.camera + cameras, identity=identity)
