"""Measure an SCL network by inner products, as in every run, and by the distance of its paper."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from training.core.config import TrainConfig
from training.core.method_options import SclOptions
from training.measure.evaluation import PROTOCOLS, Protocol, Scores, score
from training.measure.held_out import HeldOutCrops
from training.run.measuring import Measured, embed_crops, measure_epoch
from training.run.setup import Crops
from training.scl.network import PartNetwork, camera_distances, part_distances

Float32s = NDArray[np.float32]


def measure_scl_epoch(
    network: PartNetwork, crops: Crops, config: TrainConfig, device: torch.device
) -> Measured:
    """Measure a network between two epochs, also by the distance of SCL's paper.

    Args:
        network: the network as it is now.
        crops: the run's crops.
        config: the run's config.
        device: where the network is.

    Returns:
        The measurements. Those by SCL's distance are named ``parts``, and ``parts+camera`` with its
        camera term, after the protocol.
    """
    measured = measure_epoch(network, crops.images, crops.sites, crops.held_out, config, device)
    for each in crops.held_out:
        prefix = f"{each.dataset.name} " if len(crops.held_out) > 1 else ""
        _measure_parts(measured, prefix, network, each, config.selective)
    return measured


def _measure_parts(
    measured: Measured, prefix: str, network: PartNetwork, crops: HeldOutCrops, options: SclOptions
) -> None:
    compare = partial(_distances, network, crops, options)
    forms = ("parts", "parts+camera")
    distances = measured.attempt(crops, compare) or (None, None)
    for form, distance in zip(forms, distances, strict=True):
        for protocol in PROTOCOLS:
            scores = None
            if distance is not None:
                rate = partial(_score, crops, distance, protocol)
                scores = measured.attempt(crops, rate)
            measured.put(f"{prefix}{protocol} {form}", scores)


def _distances(
    network: PartNetwork, crops: HeldOutCrops, options: SclOptions
) -> tuple[Float32s, Float32s]:
    """(Q, G) distances between query and gallery, without and with the camera term."""
    samples = crops.query.samples, crops.gallery.samples
    query, gallery = embed_crops(network, crops, next(network.parameters()).device)
    of_query, of_gallery = (np.array([sample.camera for sample in each]) for each in samples)
    parts = part_distances(query, gallery, options)
    same_camera = camera_distances(of_query, of_gallery, options.camera_weight)
    return parts, parts + same_camera


def _score(crops: HeldOutCrops, distance: Float32s, protocol: Protocol) -> Scores:
    return score(distance, crops.query.samples, crops.gallery.samples, protocol=protocol)
