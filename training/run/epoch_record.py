"""The record of the last epoch for the report: its pseudo-labels and a sample of its embeddings.

It contains no picture and no path: crops are rows in the order of the run's samples.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from training.core.config import TrainConfig
from training.data.datasets import Sample
from training.run.optional import UNWRITABLE, Tell, attempt

RECORD_NAME = "last-epoch.npz"

_DRAWN = 3000


@dataclass(frozen=True, slots=True, eq=False)
class EpochRecord:
    """One epoch's clusters.

    Attributes:
        labels: (N,) int64 pseudo-labels, -1 for an outlier.
        cameras: (N,) int64.
        identities: (N,) int64, -1 if unknown.
        drawn: (M,) int64, the crops whose embeddings are kept, ascending.
        embeddings: (M, D) float16; row i belongs to crop ``drawn[i]``.
    """

    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]
    identities: NDArray[np.int64]
    drawn: NDArray[np.int64]
    embeddings: NDArray[np.float16]


def make_record(
    embeddings: NDArray[np.float32], labels: NDArray[np.int64], samples: Sequence[Sample], seed: int
) -> EpochRecord:
    """Assemble the record of an epoch.

    Args:
        embeddings: (N, D) float32, unit rows.
        labels: (N,) int64 pseudo-labels, -1 for an outlier.
        samples: the N crops.
        seed: chooses which 3,000 crops' embeddings are kept, the same in every epoch.

    Returns:
        The record.
    """
    count = min(_DRAWN, len(samples))
    drawn = np.random.default_rng(seed).choice(len(samples), size=count, replace=False)
    drawn.sort()
    return EpochRecord(
        labels=labels.astype(np.int64),
        cameras=np.array([sample.camera for sample in samples], dtype=np.int64),
        identities=np.array([sample.identity for sample in samples], dtype=np.int64),
        drawn=drawn.astype(np.int64),
        embeddings=embeddings[drawn].astype(np.float16),
    )


def save_epoch(
    run: Path,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    samples: Sequence[Sample],
    seed: int,
) -> None:
    """Replace the run's record; if the process is killed meanwhile, the old one stays whole.

    Args:
        run: the run's folder, which must exist.
        embeddings: (N, D) float32, unit rows, from which the pseudo-labels were made.
        labels: (N,) int64 pseudo-labels, -1 for an outlier.
        samples: the N crops.
        seed: the run's seed.
    """
    record = make_record(embeddings, labels, samples, seed)
    with replaced_file(run / RECORD_NAME) as file:
        np.savez_compressed(file, **{f.name: getattr(record, f.name) for f in fields(record)})


def keep_record(
    run: Path,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    samples: Sequence[Sample],
    config: TrainConfig,
    tell: Tell,
) -> None:
    """Save the record of an epoch, or say why it cannot be written.

    Args:
        run: the run's folder, which must exist.
        embeddings: as for :func:`save_epoch`.
        labels: as for :func:`save_epoch`.
        samples: the N crops.
        config: the run's config.
        tell: takes messages for people.
    """
    save = partial(save_epoch, run, embeddings, labels, samples, config.seed)
    attempt(f"{RECORD_NAME} cannot be written", save, tell, UNWRITABLE)


def load_epoch(run: Path) -> EpochRecord | None:
    """Read a run's record.

    Args:
        run: the run's folder.

    Returns:
        The record; None if the run kept none.

    Raises:
        InvalidInput: the file is damaged.
    """
    file = run / RECORD_NAME
    if not file.exists():
        return None
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            record = EpochRecord(**{f.name: arrays[f.name] for f in fields(EpochRecord)})
        _check(record)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{file}: not a readable record of an epoch ({error})") from error
    return record


def _check(record: EpochRecord) -> None:
    count = len(record.labels)
    if len(record.cameras) != count or len(record.identities) != count:
        raise ValueError("labels, cameras and identities differ in number")
    if len(record.embeddings) != len(record.drawn) or np.any(record.drawn >= count):
        raise ValueError("embeddings do not belong to its crops")
