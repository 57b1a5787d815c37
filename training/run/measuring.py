"""Measure a network between epochs: on the training crops without labels, on query and gallery.

The agreement of the cameras needs no label, so ``evaluation.select = "validation"`` may choose an
epoch by it. Accuracy on query and gallery looks at test data: no epoch is chosen by it unless
``evaluation.select = "test"`` asks for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.core.config import TrainConfig
from training.core.engine import extract_embeddings
from training.data.datasets import Dataset
from training.data.entries import DataError
from training.data.images import Images
from training.data.known_pairs import KnownPairs
from training.measure.agreement import cycle_agreement, known_groups
from training.measure.evaluation import PROTOCOLS, Protocol, Scores, evaluate
from training.measure.held_out import HeldOutCrops, Room, decode_held_out, in_memory
from training.measure.verification import verify_known_pairs
from training.networks.building import Network
from training.run.log import EpochMetrics
from training.run.optional import UNMEASURABLE, Tell, attempt

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured after one epoch; shares are 0..1.

    Attributes:
        agreement: cycle agreement of the cameras on the run's own crops; None if not measured.
        verification: how well pairs are told apart that tracks and frames tell apart; None if too
            few are known.
        map: by protocol, and by data set if there are several; None if the data does not allow the
            measurement.
        rank1: likewise.
        reasons: why something could not be measured, one message each.
    """

    agreement: float | None = None
    verification: float | None = None
    map: dict[str, float | None] = field(default_factory=dict)
    rank1: dict[str, float | None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def complete(self, line: EpochMetrics) -> EpochMetrics:
        """Add the measurements to an epoch's line in the log.

        Args:
            line: the epoch's line, not yet measured.

        Returns:
            The complete line.
        """
        return replace(
            line,
            agreement=self.agreement,
            verification=self.verification,
            map=self.map,
            rank1=self.rank1,
        )

    def attempt(self, crops: HeldOutCrops, act: Callable[[], T]) -> T | None:
        """Try a step of measuring on a data set, and keep the reason if the data does not allow it.

        Args:
            crops: query and gallery of the data set.
            act: the step.

        Returns:
            The step's result; None if it failed.
        """
        return attempt(f"{crops.dataset.name} not measured", act, self.reasons.append, UNMEASURABLE)

    def put(self, name: str, scores: Scores | None) -> None:
        """Add the accuracy on a query and gallery.

        Args:
            name: the protocol, after the data set's name if there are several.
            scores: None if they could not be measured.
        """
        self.map[name] = None if scores is None else scores.map
        self.rank1[name] = None if scores is None else scores.cmc(1)


def load_measurable(
    datasets: Sequence[Dataset],
    config: TrainConfig,
    room: Room = in_memory,
    tell: Tell = tqdm.write,
) -> list[HeldOutCrops]:
    """Decode query and gallery of every data set that has both.

    Args:
        datasets: the run's data sets.
        config: the run's config; nothing is decoded if the run never measures.
        room: makes room for a number of crops.
        tell: takes messages for people: query without gallery, the reverse, or no readable crop.

    Returns:
        The crops.

    Raises:
        DataError: a crop cannot be read, and the run does not skip such crops.
    """
    found = []
    for dataset in datasets if config.evaluation.every else ():
        if dataset.query and dataset.gallery:
            decode = partial(_decode, dataset, config, room)
            causes = (DataError,) if config.data.skip_bad else ()
            crops = attempt(f"{dataset.name} cannot be measured", decode, tell, causes)
            found += [] if crops is None else [crops]
        elif dataset.query or dataset.gallery:
            there, missing = ("query", "gallery") if dataset.query else ("gallery", "query")
            tell(f"{dataset.name} cannot be measured: it has {there} crops but no {missing}")
    return found


def _decode(dataset: Dataset, config: TrainConfig, room: Room) -> HeldOutCrops:
    model, skip_bad = config.model, config.data.skip_bad
    return decode_held_out(dataset, model.height, model.width, skip_bad=skip_bad, room=room)


def measure_epoch(
    network: Network,
    crops: Images,
    sites: NDArray[np.int64],
    held_out: Sequence[HeldOutCrops],
    config: TrainConfig,
    device: torch.device,
) -> Measured:
    """Measure a network between two epochs.

    Args:
        network: the network as it is now.
        crops: the run's N training crops; a fixed sample of them is used.
        sites: (N,) int64, the site of each crop.
        held_out: query and gallery crops; their identities are read only here.
        config: the run's config.
        device: where the network is.

    Returns:
        The measurements; what the data does not allow is None, with its reason.
    """
    reasons: list[str] = []
    draw = partial(_embed_sample, network, crops, sites, config, device)
    sample = attempt("agreement not measured", draw, reasons.append, UNMEASURABLE)
    agreement = verification = None
    if sample is not None:
        agree = partial(_agree, sample)
        agreement = attempt("agreement not measured", agree, reasons.append, UNMEASURABLE)
        verification = _verify(sample)
    measured = Measured(agreement, verification, reasons=reasons)
    for each in held_out:
        embed = partial(embed_crops, network, each, device)
        embeddings = measured.attempt(each, embed)
        for protocol in PROTOCOLS:
            key = protocol if len(held_out) == 1 else f"{each.dataset.name} {protocol}"
            scores = None
            if embeddings is not None:
                score = partial(_score, each, *embeddings, protocol)
                scores = measured.attempt(each, score)
            measured.put(key, scores)
    return measured


def _score(crops: HeldOutCrops, query: Float32s, gallery: Float32s, protocol: Protocol) -> Scores:
    return evaluate(query, crops.query.samples, gallery, crops.gallery.samples, protocol=protocol)


def embed_crops(
    network: Network, crops: HeldOutCrops, device: torch.device
) -> tuple[Float32s, Float32s]:
    """Embed query and gallery.

    Args:
        network: the network as it is now.
        crops: Q query and G gallery crops.
        device: where the network is.

    Returns:
        (Q, D) and (G, D) float32, unit rows.

    Raises:
        DataError: an embedding is not finite.
    """
    query, gallery = (
        _require_finite(extract_embeddings(network, images.pixels, device))
        for images in (crops.query, crops.gallery)
    )
    return query, gallery


def _require_finite(embeddings: Float32s) -> Float32s:
    if not np.isfinite(embeddings).all():
        raise DataError("the network's embeddings are not finite; lower the learning rate")
    return embeddings


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Some embedded training crops, and what is known of them."""

    embeddings: Float32s
    cameras: Int64s
    pairs: KnownPairs

    def of_sites(self) -> Iterator[_Sample]:
        """The crops of each site."""
        for site in np.unique(self.pairs.sites):
            own = self.pairs.sites == site
            pairs = KnownPairs(
                self.pairs.sites[own], self.pairs.tracks[own], self.pairs.frames[own]
            )
            yield _Sample(self.embeddings[own], self.cameras[own], pairs)


def _embed_sample(
    network: Network, crops: Images, sites: Int64s, config: TrainConfig, device: torch.device
) -> _Sample:
    rng = np.random.default_rng(config.seed)
    count = min(config.evaluation.crops, len(crops.samples))
    drawn = np.sort(rng.choice(len(crops.samples), size=count, replace=False))
    samples = [crops.samples[i] for i in drawn]
    use = config.clustering
    return _Sample(
        _require_finite(extract_embeddings(network, crops.pixels[drawn], device)),
        np.array([sample.camera for sample in samples]),
        KnownPairs.of(samples, sites[drawn], tracks=use.tracks, frames=use.frames),
    )


def _agree(sample: _Sample) -> float:
    """Mean cycle agreement over the sites that have two cameras.

    Where tracks are known, a way must lead back to its crop's track, which no network has made.
    """
    agreement = _mean_of_known(
        cycle_agreement(one.embeddings, one.cameras, known_groups(one.pairs.tracks))
        for one in sample.of_sites()
    )
    if agreement is None:
        raise DataError("no site has crops of two cameras")
    return agreement


def _verify(sample: _Sample) -> float | None:
    """Mean verification over the sites that have tracks and frames."""
    return _mean_of_known(
        verify_known_pairs(one.embeddings, one.pairs.tracks, one.pairs.frames)
        for one in sample.of_sites()
    )


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
