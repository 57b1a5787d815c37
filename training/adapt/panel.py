"""The crops on which an adaptation's rounds are compared, a part of them never trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.core.checkpoint import Network
from training.core.engine import extract_embeddings
from training.core.options import ClusterOptions
from training.data.samples import Images
from training.hhcl.clustering import cluster
from training.measure.agreement import way_precisions

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_HELD_OUT = 0.2
_MEASURED = 5000  # crops: more cost time and tell no more


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Crops on which networks are compared; their groups are the start's and stay.

    Attributes:
        held: (N,) bool, of all crops: kept out of training.
        pixels: (M, H, W, 3) uint8, the compared crops.
        cameras: (M,) int64.
        groups: (M,) int64, made inside each camera, -1 for none.
        starts: (M,) bool, those held out.
    """

    held: Bools
    pixels: NDArray[np.uint8]
    cameras: Int64s
    groups: Int64s
    starts: Bools

    def measure(self, network: Network, device: torch.device) -> NDArray[np.float64]:
        """Average precision of each way from a held-out crop, by another camera, and back.

        Args:
            network: on ``device``.
            device: where it runs.

        Returns:
            (W,) float64; their mean is the cycle agreement.
        """
        embeddings = extract_embeddings(network, self.pixels, device)
        return way_precisions(embeddings, self.cameras, self.groups, self.starts)


def choose_panel(
    crops: Images, start: Network, grouping: ClusterOptions, seed: int, device: torch.device
) -> Panel:
    """Hold crops out and group the compared ones by what the start knows inside each camera.

    Where there is one camera its crops are dealt to two, and the cycle goes between those.

    Args:
        crops: all of them.
        start: the network before adaptation, on ``device``.
        grouping: neighbourhood and radius; clusters never cross cameras here.
        seed: source of the draw.
        device: where the network runs.

    Returns:
        The panel.
    """
    order = np.random.default_rng(seed).permutation(len(crops.samples))
    out = round(_HELD_OUT * len(order))
    held = np.zeros(len(order), dtype=bool)
    held[order[:out]] = True
    measured_out = round(_HELD_OUT * min(_MEASURED, len(order)))
    others = order[out : out + _MEASURED - measured_out]
    chosen = np.sort(np.concatenate([order[:measured_out], others]))
    cameras = np.array([crops.samples[i].camera for i in chosen])
    pixels = crops.pixels[chosen]
    inside = replace(grouping, scheme="dbscan")
    embeddings = extract_embeddings(start, pixels, device)
    groups = cluster(embeddings, cameras, inside, tqdm.write, sites=cameras)
    if len(np.unique(cameras)) == 1:
        cameras = np.arange(len(chosen), dtype=np.int64) % 2
        groups = np.where(groups >= 0, 2 * groups + cameras, -1)
    return Panel(held, pixels, cameras, groups, held[chosen])
