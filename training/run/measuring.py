"""What a run measures on its way: its own crops without labels, test crops with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.core.checkpoint import Network
from training.core.config import TrainConfig
from training.core.engine import extract_embeddings
from training.data.samples import DataError, Dataset, Images, load_images
from training.measure.agreement import cycle_agreement
from training.measure.evaluation import PROTOCOLS, Protocol, Scores, evaluate
from training.run.log import EpochMetrics
from training.run.optional import UNMEASURABLE, Tell, attempt

Float32s = NDArray[np.float32]
T = TypeVar("T")


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
        map: by protocol, and by data set where there are several; None where the data does not
            allow the measurement.
        rank1: likewise.
        reasons: why something could not be measured, one message each.
    """

    agreement: float | None = None
    map: dict[str, float | None] = field(default_factory=dict)
    rank1: dict[str, float | None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def complete(self, line: EpochMetrics) -> EpochMetrics:
        """The line of an epoch's log with what was measured.

        Args:
            line: of the epoch, not yet measured.

        Returns:
            The line.
        """
        return replace(line, agreement=self.agreement, map=self.map, rank1=self.rank1)

    def attempt(self, test: HeldOut, act: Callable[[], T]) -> T | None:
        """Do a step of measuring on a test set; keep the reason if the data does not allow it.

        Args:
            test: the test set.
            act: the step.

        Returns:
            The step's result; None if it failed.
        """
        return attempt(f"{test.name} not measured", act, self.reasons.append, UNMEASURABLE)

    def put(self, name: str, scores: Scores | None) -> None:
        """Add the accuracy on query and gallery.

        Args:
            name: protocol, and data set where there are several.
            scores: None if they could not be measured.
        """
        self.map[name] = None if scores is None else scores.map
        self.rank1[name] = None if scores is None else scores.cmc(1)


def load_held_out(
    datasets: Sequence[Dataset], config: TrainConfig, tell: Tell = tqdm.write
) -> list[HeldOut]:
    """Decode query and gallery of every data set that has both.

    Args:
        datasets: of the run.
        config: of the run; nothing is loaded if it never measures.
        tell: takes messages for people: half a test set, or one without a readable crop.

    Returns:
        The test crops.

    Raises:
        DataError: a crop cannot be read, and the run does not skip such crops.
    """
    found = []
    for dataset in datasets if config.evaluation.every else ():
        if dataset.query and dataset.gallery:
            load = partial(_load, dataset, config)
            causes = (DataError,) if config.data.skip_bad else ()
            test = attempt(f"{dataset.name} cannot be measured", load, tell, causes)
            found += [] if test is None else [test]
        elif dataset.query or dataset.gallery:
            there, missing = ("query", "gallery") if dataset.query else ("gallery", "query")
            tell(f"{dataset.name} cannot be measured: it has {there} crops but no {missing}")
    return found


def _load(dataset: Dataset, config: TrainConfig) -> HeldOut:
    query, gallery = (
        load_images(samples, config.model.height, config.model.width, skip_bad=config.data.skip_bad)
        for samples in (dataset.query, dataset.gallery)
    )
    return HeldOut(dataset.name, query, gallery)


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
        The measurements; what the data does not allow is None, with its reason.
    """
    reasons: list[str] = []
    agree = partial(_agree, network, crops, sites, config, device)
    agreement = attempt("agreement not measured", agree, reasons.append, UNMEASURABLE)
    measured = Measured(agreement, reasons=reasons)
    for test in held_out:
        embed = partial(embed_test, network, test, device)
        embeddings = measured.attempt(test, embed)
        for protocol in PROTOCOLS:
            key = protocol if len(held_out) == 1 else f"{test.name} {protocol}"
            scores = None
            if embeddings is not None:
                score = partial(_score, test, *embeddings, protocol)
                scores = measured.attempt(test, score)
            measured.put(key, scores)
    return measured


def _score(test: HeldOut, query: Float32s, gallery: Float32s, protocol: Protocol) -> Scores:
    return evaluate(query, test.query.samples, gallery, test.gallery.samples, protocol=protocol)


def embed_test(network: Network, test: HeldOut, device: torch.device) -> tuple[Float32s, Float32s]:
    """Embed query and gallery.

    Args:
        network: as it stands.
        test: Q query and G gallery crops.
        device: where the network lives.

    Returns:
        (Q, D) and (G, D) float32, unit rows.

    Raises:
        DataError: an embedding is not finite.
    """
    query, gallery = (
        _finite(extract_embeddings(network, images.pixels, device))
        for images in (test.query, test.gallery)
    )
    return query, gallery


def _finite(embeddings: Float32s) -> Float32s:
    if not np.isfinite(embeddings).all():
        raise DataError("the network's embeddings are not finite; lower the learning rate")
    return embeddings


def _agree(
    network: Network,
    crops: Images,
    sites: NDArray[np.int64],
    config: TrainConfig,
    device: torch.device,
) -> float:
    rng = np.random.default_rng(config.seed)
    count = min(config.evaluation.crops, len(crops.samples))
    drawn = np.sort(rng.choice(len(crops.samples), size=count, replace=False))
    embeddings = _finite(extract_embeddings(network, crops.pixels[drawn], device))
    cameras = np.array([crops.samples[i].camera for i in drawn])
    of_site = sites[drawn]
    found = [
        cycle_agreement(embeddings[of_site == site], cameras[of_site == site])
        for site in np.unique(of_site)
    ]
    known = [value for value in found if value is not None]
    if not known:
        raise DataError("no site has crops of two cameras")
    return float(np.mean(known))
