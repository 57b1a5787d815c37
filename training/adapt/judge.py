"""Compare the networks of an adaptation on the same crops, some of them never trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.adapt.fitting import Asked, fit_clustering
from training.core.engine import extract_embeddings
from training.core.method_options import ClusterOptions
from training.data.images import Images
from training.data.known_pairs import KnownPairs
from training.hhcl.clustering import cluster
from training.measure.agreement import way_precisions
from training.networks.building import Network

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_HELD_OUT = 0.2
_MEASURED = 5000  # crops; more take longer and do not change the verdict


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """The crops on which networks are compared; the start network grouped them once and for all.

    Attributes:
        held_out: (N,) bool, of all crops: not used for training.
        pixels: (M, H, W, 3) uint8, the compared crops.
        cameras: (M,) int64.
        groups: (M,) int64, made inside each camera, -1 for a crop in no group.
        starts: (M,) bool, the compared crops that are held out.
    """

    held_out: Bools
    pixels: NDArray[np.uint8]
    cameras: Int64s
    groups: Int64s
    starts: Bools

    def measure(self, network: Network, device: torch.device) -> NDArray[np.float64]:
        """Average precision of each way from a held-out crop, through another camera, and back.

        Args:
            network: on ``device``.
            device: where it runs.

        Returns:
            (W,) float64; their mean is the cycle agreement.
        """
        embeddings = extract_embeddings(network, self.pixels, device)
        return way_precisions(embeddings, self.cameras, self.groups, self.starts)


def choose_judge(
    crops: Images, start: Network, asked: Asked, seed: int, device: torch.device
) -> Judge:
    """Hold crops out, and group the compared crops with the start network inside each camera.

    Neighbourhood and radius are fitted to the compared crops, which are fewer per person than all
    crops if there are many. If there is only one camera, its crops are divided between two
    imaginary ones, so that there is a way from one to the other and back.

    Args:
        crops: all crops.
        start: the network before adaptation, on ``device``.
        asked: values of the clustering that are not fitted.
        seed: source of the random choice.
        device: where the network runs.

    Returns:
        The judge.
    """
    order = np.random.default_rng(seed).permutation(len(crops.samples))
    out = round(_HELD_OUT * len(order))
    held_out = np.zeros(len(order), dtype=bool)
    held_out[order[:out]] = True
    measured_out = round(_HELD_OUT * min(_MEASURED, len(order)))
    others = order[out : out + _MEASURED - measured_out]
    chosen = np.sort(np.concatenate([order[:measured_out], others]))
    cameras = np.array([crops.samples[i].camera for i in chosen])
    pixels = crops.pixels[chosen]
    embeddings = extract_embeddings(start, pixels, device)
    inside = fit_clustering(embeddings, cameras, asked).apply(ClusterOptions(scheme="dbscan"))
    # A camera counts as a site, so that a group never spans two cameras.
    known = KnownPairs.of([crops.samples[i] for i in chosen], cameras)
    groups = cluster(embeddings, cameras, inside, tqdm.write, known=known)
    if len(np.unique(cameras)) == 1:
        cameras = np.arange(len(chosen), dtype=np.int64) % 2
        groups = np.where(groups >= 0, 2 * groups + cameras, -1)
    return Judge(held_out, pixels, cameras, groups, held_out[chosen])
