"""What a run measures on its way: its own crops without labels, test crops with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from training.agreement import cycle_agreement
from training.checkpoint import Network
from training.config import TrainConfig
from training.data import Dataset, Images, load_images
from training.engine import extract_embeddings
from training.evaluation import PROTOCOLS, evaluate
from training.report import Clusters, EpochMetrics


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The test crops of one data set.

    Attributes:
        name: of the data set.
        query: crops to search for.
        gallery: crops to search in.
    """

    name: str
    query: Images
    gallery: Images


@dataclass(frozen=True, slots=True)
class Measured:
    """One epoch's measurements; shares are 0..1.

    Attributes:
        agreement: cycle agreement of the cameras on the run's own crops; None if not measured.
        map: by protocol, and by data set where there are several.
        rank1: likewise.
    """

    agreement: float | None = None
    map: dict[str, float] = field(default_factory=dict)
    rank1: dict[str, float] = field(default_factory=dict)

    def metrics(
        self, epoch: int, loss: float, learning_rate: float, clusters: Clusters | None
    ) -> EpochMetrics:
        """The line of an epoch's log.

        Args:
            epoch: from 1.
            loss: mean of the epoch.
            learning_rate: of the epoch.
            clusters: the pseudo-labels; None where the method makes none.

        Returns:
            The line.
        """
        return EpochMetrics(
            epoch=epoch,
            loss=loss,
            learning_rate=learning_rate,
            clusters=clusters,
            agreement=self.agreement,
            map=self.map,
            rank1=self.rank1,
        )


def load_held_out(datasets: Sequence[Dataset], config: TrainConfig) -> list[HeldOut]:
    """Decode query and gallery of every data set that has both.

    Args:
        datasets: of the run.
        config: of the run; nothing is loaded where it never measures.

    Returns:
        The test crops.
    """
    wanted = [d for d in datasets if config.evaluation.every and d.query and d.gallery]
    size = config.model.height, config.model.width
    skip_bad = config.data.skip_bad
    return [
        HeldOut(
            name=dataset.name,
            query=load_images(dataset.query, *size, skip_bad=skip_bad),
            gallery=load_images(dataset.gallery, *size, skip_bad=skip_bad),
        )
        for dataset in wanted
    ]


def measure_epoch(
    network: Network,
    crops: Images,
    sites: NDArray[np.int64],
    held_out: Sequence[HeldOut],
    config: TrainConfig,
    device: torch.device,
) -> Measured:
    """Measure a network between two epochs; nothing is chosen by it unless the config says so.

    Args:
        network: as it stands.
        crops: the run's training crops; a fixed draw of them is used.
        sites: (N,) int64, the site of each.
        held_out: test crops, whose identities are read here only.
        config: of the run.
        device: where the network lives.

    Returns:
        The measurements.
    """
    measured = Measured(agreement=_agree(network, crops, sites, config, device))
    for test in held_out:
        query, gallery = (
            extract_embeddings(network, images.pixels, device)
            for images in (test.query, test.gallery)
        )
        for protocol in PROTOCOLS:
            scores = evaluate(
                query, test.query.samples, gallery, test.gallery.samples, protocol=protocol
            )
            key = protocol if len(held_out) == 1 else f"{test.name} {protocol}"
            measured.map[key] = scores.map
            measured.rank1[key] = scores.cmc(1)
    return measured


def _agree(
    network: Network,
    crops: Images,
    sites: NDArray[np.int64],
    config: TrainConfig,
    device: torch.device,
) -> float | None:
    rng = np.random.default_rng(config.seed)
    count = min(config.evaluation.crops, len(crops.samples))
    drawn = np.sort(rng.choice(len(crops.samples), size=count, replace=False))
    embeddings = extract_embeddings(network, crops.pixels[drawn], device)
    cameras = np.array([crops.samples[i].camera for i in drawn])
    of_site = sites[drawn]
    found = [
        cycle_agreement(embeddings[of_site == site], cameras[of_site == site])
        for site in np.unique(of_site)
    ]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None
