"""HHCL's network: backbone, pooling, BN neck, unit length; and ghost batch normalisation."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.core.backbone import StyleMixing, build_stages, feature_map, style_of

Pooling = Literal["average", "gem"]


class EmbeddingNetwork(nn.Module):
    """Backbone, pooling, BN neck (weight 1, bias frozen at 0), L2; the same in training and use.

    Args:
        features: stages that map (N, 3, H, W) normalised pixels to (N, D, h, w).
        dimension: D.
        pooling: how a map becomes a vector.
        mix_after: indices of the stages after which ``style`` is applied.
        style: changes maps in training mode; None leaves them unchanged.
    """

    def __init__(
        self,
        features: nn.Sequential,
        dimension: int,
        pooling: Pooling,
        *,
        mix_after: tuple[int, ...] = (),
        style: StyleMixing | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.dimension = dimension
        self._mix_after = mix_after
        self.style = style
        match pooling:
            case "average":
                self.pooling: nn.Module = AveragePooling()
            case "gem":
                self.pooling = GemPooling()
        self.neck = nn.BatchNorm2d(dimension)
        self.neck.bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised -> (N, D) float32, unit rows."""
        features = feature_map(self.features, images, self._mix_after, self.style)
        pooled = self.pooling(features.float())  # float32 from here, whatever the passes compute in
        necked = self.neck(pooled[:, :, None, None])[:, :, 0, 0]
        return F.normalize(necked, dim=1)


def build_network(
    backbone: str,
    *,
    pooling: Pooling = "average",
    weights: str = "default",
    ghost_group: int = 64,
    last_stride: Literal[1, 2] = 1,
    style_mixing: float = 0.0,
) -> EmbeddingNetwork:
    """Build HHCL's network.

    Args:
        backbone: as for :func:`training.core.backbone.build_stages`.
        pooling: ``average`` (all published HHCL numbers) or ``gem``.
        weights: likewise.
        ghost_group: images per group of batch normalisation.
        last_stride: stride of the last stage that halves the map; the paper uses 1.
        style_mixing: probability that a crop's early maps take on another's style in training.

    Returns:
        The network, in training mode.

    Raises:
        InvalidInput: the backbone, its weights and the options do not fit each other.
    """
    stages = build_stages(backbone, weights=weights, last_stride=last_stride)
    network = EmbeddingNetwork(
        stages.features,
        stages.dimension,
        pooling,
        mix_after=stages.mix_after,
        style=style_of(stages, style_mixing),
    )
    _use_ghost_groups(network, ghost_group)
    # On a CPU, convolutions are two to three times faster with the channels innermost.
    return network.to(memory_format=torch.channels_last)


class GemPooling(nn.Module):
    """Generalised mean pooling (Radenovic et al., TPAMI 2019): one learned exponent, from 3."""

    def __init__(self, exponent: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.floor = floor

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        powered = features.clamp(min=self.floor).pow(self.exponent)
        return powered.mean(dim=(2, 3)).pow(1.0 / self.exponent)


class AveragePooling(nn.Module):
    """Mean over the map."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        return features.mean(dim=(2, 3))


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over contiguous groups of the batch, with shared affine parameters.

    HHCL's published numbers come from four replicas that each normalised 64 images; plain batch
    normalisation over all 256 on one device loses up to 20 mAP. As in the released code, the
    running statistics follow only the first group (replica 0 owned the buffers).

    Args:
        features: number of channels.
        group: images per group; a batch of at most this size is one group. A single image left
            over joins the group before it, because one image has no batch statistics.
    """

    def __init__(self, features: int, group: int) -> None:
        super().__init__(features)
        self.group = group

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalise (N, C, H, W), or (N, C) for the neck."""
        if not self.training or len(input) <= self.group:
            return self._normalise(input, self.running_mean, self.running_var)
        first, *others = input.tensor_split(self._bounds(len(input)))
        normalised = [self._normalise(first, self.running_mean, self.running_var)]
        normalised += [self._normalise(other, None, None) for other in others]
        return torch.cat(normalised)

    def _bounds(self, count: int) -> list[int]:
        """Where the second and each later group begins."""
        return [start for start in range(self.group, count, self.group) if start != count - 1]

    def _normalise(self, x: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        return F.batch_norm(
            x, mean, variance, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps
        )

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        pass


def _use_ghost_groups(module: nn.Module, group: int) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            ghost = GhostBatchNorm2d(child.num_features, group)
            ghost.eps, ghost.momentum = child.eps, child.momentum
            ghost.load_state_dict(child.state_dict())
            ghost.bias.requires_grad_(child.bias.requires_grad)
            setattr(module, name, ghost)
        else:
            _use_ghost_groups(child, group)
