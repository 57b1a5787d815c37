"""Give a run the true identities of its crops, and make it say so.

Only the ceiling of a recipe is measured this way: what it reaches if every cluster is right. No
option of the command line leads here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import nn
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.checkpoint import Checkpoint
from training.data.datasets import UNKNOWN
from training.networks.provenance import REAL_PEOPLE
from training.run.setup import Crops
from training.run.state import RunState

N = TypeVar("N", bound=nn.Module)


def reveal_identities(crops: Crops) -> Crops:
    """Add the true identities of the crops without a label.

    Args:
        crops: the run's crops.

    Returns:
        The same crops with ``revealed`` set.

    Raises:
        InvalidInput: no crop is without a label, or a crop's identity is not known.
    """
    unlabelled = np.flatnonzero(crops.identities == UNKNOWN)
    if len(unlabelled) == 0:
        raise InvalidInput("there are no unlabelled crops whose identities could be the clusters")
    samples = [crops.images.samples[crop] for crop in unlabelled]
    unknown = [sample.path for sample in samples if sample.identity == UNKNOWN]
    if unknown:
        raise InvalidInput(
            f"{len(unknown)} of {len(samples)} training crops have no identity, {unknown[0]} for "
            "example; true identities can be the clusters only if every crop has one"
        )
    identities = np.array([sample.identity for sample in samples], dtype=np.int64)
    return replace(crops, revealed=np.unique(identities, return_inverse=True)[1].astype(np.int64))


def admit_labels(state: RunState[N], saved: Checkpoint | None, output: Path) -> RunState[N]:
    """Record in a run's state that its network learns from the identity labels of real people.

    Args:
        state: before the next epoch.
        saved: the checkpoint that the run continues from; None for a new run.
        output: the run's folder.

    Returns:
        The state, whose checkpoints say so.

    Raises:
        InvalidInput: the run has begun without the labels.
    """
    if saved and saved.identity_labels != REAL_PEOPLE:
        raise InvalidInput(
            f"{output} holds a run without true identities; choose another folder for one with them"
        )
    tqdm.write(
        f"true identities are the clusters: this network has learned from labels {REAL_PEOPLE}"
    )
    return replace(state, identity_labels=REAL_PEOPLE)
