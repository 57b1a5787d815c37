"""What an epoch's memory is built from: embeddings, labels, and who is contrasted with whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.core.config import TrainConfig
from training.core.distributed import World
from training.data.datasets import UNKNOWN
from training.hhcl.labelling import contrasted_cameras
from training.hhcl.memories.building import ClusteredCrops
from training.hhcl.soft_links import SoftLinks, link_softly
from training.run.setup import Crops

Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


def gather_crops(
    embeddings: Float32s,
    embedded: Int64s,
    labels: Int64s,
    crops: Crops,
    config: TrainConfig,
    world: World,
) -> ClusteredCrops:
    """Gather an epoch's crops for its memory, with soft links if the config asks for them.

    Args:
        embeddings: (M, D) float32, unit rows, of the crops that the epoch embeds.
        embedded: (M,) int64 indices of those crops, unlabelled ones first, and all of these.
        labels: (N,) int64 labels of all crops, -1 for an outlier.
        crops: the run's crops.
        config: the run's config.
        world: the first process finds the soft links for all.

    Returns:
        The crops.
    """
    contrasted = contrasted_cameras(labels, crops.cameras, crops.identities != UNKNOWN)
    soft_links = None
    # True identities leave nothing open.
    if config.clustering.links == "soft" and crops.revealed is None:
        soft_links = world.from_first(_link, embeddings, labels, crops, config)
    return ClusteredCrops(
        embeddings, labels[embedded], crops.cameras[embedded], contrasted, soft_links
    )


def _link(
    embeddings: Float32s, labels: Int64s, crops: Crops, config: TrainConfig
) -> SoftLinks | None:
    """Soft links of unlabelled crops; None if all are synthetic."""
    unlabelled = np.flatnonzero(crops.identities == UNKNOWN)
    if len(unlabelled) == 0:
        return None
    links = link_softly(
        embeddings[: len(unlabelled)],
        crops.cameras[unlabelled],
        labels[unlabelled],
        config.clustering,
        crops.sites[unlabelled],
    )
    tqdm.write(links.line())
    return links
