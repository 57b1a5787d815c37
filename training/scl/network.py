"""SCL's network: one feature of the whole crop, one per horizontal stripe, and their distance.

Letters: B crops in a batch, D_g and D_l dimensions of a global and a local feature, S stripes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from service.errors import InvalidInput
from training.core.backbone import StyleMixing, build_stages, feature_map, style_of
from training.core.method_options import SclOptions
from training.core.stages import Stages

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]


class Features(NamedTuple):
    """The features of B crops.

    Attributes:
        whole: (B, D_g) float32, unit rows: the global features.
        stripes: (B, S, D_l) float32, unit rows: the local features, from top to bottom.
    """

    whole: Tensor
    stripes: Tensor


class PartNetwork(nn.Module):
    """A backbone, then a global branch and one branch per stripe: pool, Linear, BN, L2.

    From Pang et al. 2022. Batch normalisation is over the whole batch, in the backbone too: ghost
    groups imitate HHCL's four devices, whereas SCL was trained on one device, with 8 crops.

    Args:
        stages: the backbone.
        options: stripes, sizes and the share of the global feature.
        style: changes maps in training mode; None leaves them unchanged.
    """

    def __init__(
        self, stages: Stages, options: SclOptions, style: StyleMixing | None = None
    ) -> None:
        super().__init__()
        self.features = stages.features
        self.style = style
        self._mix_after = stages.mix_after
        self.whole = _branch(stages.dimension, options.global_size)
        self.stripes = nn.ModuleList(
            _branch(stages.dimension, options.local_size) for _ in range(options.stripes)
        )
        self.dimension = options.global_size + options.stripes * options.local_size
        self._scales = tuple(np.sqrt(part_weights(options)).tolist())

    def describe(self, images: Tensor) -> Features:
        """(B, 3, H, W) float32, normalised -> global and local features."""
        features = feature_map(self.features, images, self._mix_after, self.style)
        rows = features.mean(dim=3)  # (B, D, h)
        stripes = [
            branch(rows[:, :, window].mean(dim=2))
            for branch, window in zip(
                self.stripes, stripe_windows(rows.shape[2], len(self.stripes)), strict=True
            )
        ]
        return Features(
            whole=F.normalize(self.whole(rows.mean(dim=2)), dim=1),
            stripes=F.normalize(torch.stack(stripes, dim=1), dim=2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32, normalised -> (B, D_g + S * D_l) float32, unit rows.

        Each part is scaled by the root of its weight, so that 2 - 2 <e, e'> is the squared distance
        by which training selects.
        """
        whole, stripes = self.describe(images)
        of_whole, of_stripe = self._scales[:2]
        return torch.cat([of_whole * whole, of_stripe * stripes.flatten(1)], dim=1)


def _branch(dimension: int, size: int) -> nn.Sequential:
    linear = nn.Linear(dimension, size)
    nn.init.kaiming_normal_(linear.weight, mode="fan_out")
    nn.init.zeros_(linear.bias)
    return nn.Sequential(linear, nn.BatchNorm1d(size))


def stripe_windows(height: int, stripes: int) -> Iterator[slice]:
    """Divide the rows of a map among the stripes, as adaptive pooling does.

    Args:
        height: rows of the map; unless it is a multiple of ``stripes``, neighbours share a row.
        stripes: number of stripes.

    Yields:
        The rows of each stripe, at least one, from top to bottom; together they cover the map.
    """
    for stripe in range(stripes):
        yield slice(stripe * height // stripes, -(-(stripe + 1) * height // stripes))


def build_part_network(
    backbone: str,
    options: SclOptions,
    *,
    weights: str = "default",
    last_stride: Literal[1, 2] = 1,
    style_mixing: float = 0.0,
) -> PartNetwork:
    """Build SCL's network.

    Args:
        backbone: as for :func:`training.core.backbone.build_stages`.
        options: stripes and sizes.
        weights: likewise.
        last_stride: stride of the last stage that halves the map.
        style_mixing: probability that a crop's early maps take on another's style in training.

    Returns:
        The network, in training mode.

    Raises:
        InvalidInput: the backbone, its weights and the options do not fit each other, or the sizes
            do not match.
    """
    local = options.stripes * options.local_size
    if local != options.global_size:
        raise InvalidInput(
            f"selective.global_size = {options.global_size}, but stripes x local_size = {local}: "
            "the mixture bank compares both with the same rows, so they must be equal"
        )
    stages = build_stages(backbone, weights=weights, last_stride=last_stride)
    style = style_of(stages, style_mixing)
    return PartNetwork(stages, options, style).to(memory_format=torch.channels_last)


def part_weights(options: SclOptions) -> NDArray[np.float64]:
    """(1 + S,) share of each part in the distance, the global feature first; the sum is 1."""
    of_stripe = (1 - options.global_weight) / options.stripes
    return np.array([options.global_weight] + [of_stripe] * options.stripes)


def part_distances(query: Float32s, gallery: Float32s, options: SclOptions) -> Float32s:
    """Compute SCL's test distance: the weighted sum of the parts' distances, not squared.

    lambda_g |g - g'| + (1 - lambda_g) / S * sum over stripes of |l_s - l_s'|. A part of an
    embedding is its feature times the root of its weight w, so sqrt(w) |e_p - e_p'| is w |x - x'|.

    Args:
        query: (Q, D) float32, embeddings of a :class:`PartNetwork`.
        gallery: (G, D) float32, likewise.
        options: the network's options.

    Returns:
        (Q, G) float32, 0..2.
    """
    ends = options.global_size + options.local_size * np.arange(options.stripes)
    total = np.zeros((len(query), len(gallery)), dtype=np.float32)
    parts = zip(np.split(query, ends, axis=1), np.split(gallery, ends, axis=1), strict=True)
    for (of_query, of_gallery), weight in zip(parts, part_weights(options), strict=True):
        squared = 2 * np.float32(weight) - 2 * of_query @ of_gallery.T  # |e_p|^2 is the weight
        total += np.float32(np.sqrt(weight)) * np.sqrt(squared.clip(min=0))
    return total


def camera_distances(query: Int64s, gallery: Int64s, weight: float) -> Float32s:
    """Compute the term that SCL adds between crops of one camera, in training and in its tests.

    Args:
        query: (Q,) int64 cameras.
        gallery: (G,) int64 cameras.
        weight: lambda_c.

    Returns:
        (Q, G) float32: ``weight`` if the cameras are the same, else 0.
    """
    same: Float32s = (query[:, None] == gallery[None]).astype(np.float32)
    return same * np.float32(weight)
