"""The network: backbone, pooling, BN neck, unit length; and ghost batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from service.errors import InvalidInput

Backbone = Literal["resnet50", "resnet18", "mobilenet_v2"]
Pooling = Literal["average", "gem"]


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over contiguous groups of the batch, affine parameters shared.

    HHCL's numbers come from four replicas that each normalised 64 images; one device with plain
    batch normalisation over 256 loses up to 20 mAP. As there, the running statistics follow the
    first group only (replica 0 owned the buffers).

    Args:
        features: channels.
        group: images a group; a batch no larger than this is one group.
    """

    def __init__(self, features: int, group: int) -> None:
        super().__init__(features)
        self.group = group

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalise (N, C, H, W), or (N, C) for the neck."""
        if not self.training or len(input) <= self.group:
            return self._normalise(input, self.running_mean, self.running_var)
        first, *others = input.split(self.group)
        normalised = [self._normalise(first, self.running_mean, self.running_var)]
        normalised += [self._normalise(other, None, None) for other in others]
        return torch.cat(normalised)

    def _normalise(self, x: Tensor, mean: Tensor | None, variance: Tensor | None) -> Tensor:
        return F.batch_norm(
            x, mean, variance, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps
        )

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        pass


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


class StyleMixing(nn.Module):
    """Gives some maps of a batch a blend of their own and another map's style (MixStyle).

    What an early channel's mean and deviation tell is mostly light, colour and camera, not who is
    seen (Zhou et al., ICLR 2021). In evaluation nothing changes.

    Args:
        chance: that a map is mixed, 0..1.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape; draws from torch's global generator."""
        if not self.training or self.chance == 0:
            return features
        count = len(features)
        deviation, mean = torch.std_mean(features.detach(), dim=(2, 3), keepdim=True)
        partner = torch.randperm(count)
        # Beta(0.1, 0.1), the paper's, mostly keeps one of the two styles nearly whole.
        kept = torch.distributions.Beta(0.1, 0.1).sample((count, 1, 1, 1))
        kept = torch.where(torch.rand(count, 1, 1, 1) < self.chance, kept, 1.0).to(features)
        new_mean = kept * mean + (1 - kept) * mean[partner]
        new_deviation = kept * deviation + (1 - kept) * deviation[partner]
        return (features - mean) / (deviation + 1e-6) * new_deviation + new_mean


class EmbeddingNetwork(nn.Module):
    """Backbone, pooling, BN neck (weight 1, bias frozen at 0), L2: the same in train and eval.

    Args:
        features: stages that map (N, 3, H, W) normalised pixels to (N, D, h, w).
        dimension: D.
        pooling: how a map becomes a vector.
        mix_after: stages after which ``style`` is applied.
        style: changes maps in training only; None leaves them.
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
        pooled = self.pooling(feature_map(self.features, images, self._mix_after, self.style))
        necked = self.neck(pooled[:, :, None, None])[:, :, 0, 0]
        return F.normalize(necked.float(), dim=1)


def feature_map(
    stages: nn.Sequential,
    images: Tensor,
    mix_after: tuple[int, ...] = (),
    style: StyleMixing | None = None,
) -> Tensor:
    """Run a backbone's stages, mixing styles on the way.

    Args:
        stages: of the backbone.
        images: (N, 3, H, W) float32, normalised.
        mix_after: stages after which ``style`` is applied.
        style: changes maps in training only; None leaves them.

    Returns:
        (N, D, h, w), the last map.
    """
    if style is None:
        return cast("Tensor", stages(images))
    features = images
    for position, stage in enumerate(stages):
        features = stage(features)
        if position in mix_after:
            features = style(features)
    return features


@dataclass(frozen=True, slots=True)
class Stages:
    """A backbone without its classifier.

    Attributes:
        features: stages that map (N, 3, H, W) normalised pixels to (N, D, h, w).
        dimension: D.
        mix_after: stages after which styles may be mixed.
    """

    features: nn.Sequential
    dimension: int
    mix_after: tuple[int, ...]


def build_network(
    backbone: Backbone,
    *,
    pooling: Pooling = "average",
    weights: str = "default",
    ghost_group: int = 64,
    last_stride: Literal[1, 2] = 1,
    style_mixing: float = 0.0,
) -> EmbeddingNetwork:
    """Build a network from torchvision's backbones.

    Args:
        backbone: torchvision's name.
        pooling: ``average`` (all published HHCL numbers) or ``gem``.
        weights: ``default`` (torchvision's ImageNet weights), ``none`` (random), or a file with a
            state dict of the backbone, tensors only.
        ghost_group: images a batch-normalisation group.
        last_stride: stride of the last stage that halves the map; the paper uses 1.
        style_mixing: chance that a crop's early maps take on another's style in training.

    Returns:
        The network, in train mode.

    Raises:
        InvalidInput: the weights cannot be downloaded, read or do not fit.
    """
    stages = build_stages(backbone, weights=weights, last_stride=last_stride)
    network = EmbeddingNetwork(
        stages.features,
        stages.dimension,
        pooling,
        mix_after=stages.mix_after,
        style=StyleMixing(style_mixing) if style_mixing else None,
    )
    _use_ghost_groups(network, ghost_group)
    # Convolutions are two to three times faster on a CPU with the channels innermost.
    return network.to(memory_format=torch.channels_last)


def build_stages(
    backbone: Backbone, *, weights: str = "default", last_stride: Literal[1, 2] = 1
) -> Stages:
    """Build one of torchvision's backbones, its batch normalisation as torchvision's.

    Args:
        backbone: torchvision's name.
        weights: as for :func:`build_network`.
        last_stride: stride of the last stage that halves the map.

    Returns:
        The backbone.

    Raises:
        InvalidInput: the weights cannot be downloaded, read or do not fit.
    """
    model = _torchvision_model(backbone, weights)
    match backbone:
        case "resnet50" | "resnet18":
            resnet = cast("models.ResNet", model)
            dimension = resnet.fc.in_features
            features = nn.Sequential(*list(resnet.children())[:-2])
            last_stage: nn.Module = resnet.layer4
            mix_after = (4, 5)  # layer1 and layer2, the published places
        case "mobilenet_v2":
            mobilenet = cast("models.MobileNetV2", model)
            dimension = mobilenet.last_channel
            features = mobilenet.features
            last_stage = mobilenet.features[14]
            mix_after = (3, 6)  # the last maps at a quarter and at an eighth of the size
    if last_stride == 1:
        _keep_resolution(last_stage)
    return Stages(features, dimension, mix_after)


def _torchvision_model(backbone: Backbone, weights: str) -> nn.Module:
    match weights:
        case "none":
            return _untrained(backbone)
        case "default":
            try:
                return cast("nn.Module", models.get_model(backbone, weights="IMAGENET1K_V1"))
            except (OSError, RuntimeError) as error:
                raise InvalidInput(
                    f"--weights default: torchvision's {backbone} weights could not be downloaded "
                    f"({error}); give a file with --weights FILE, or start from --weights none"
                ) from error
        case file:
            model = _untrained(backbone)
            _load_backbone(model, Path(file))
            return model


def _untrained(backbone: Backbone) -> nn.Module:
    return cast("nn.Module", models.get_model(backbone, weights=None))


def _load_backbone(model: nn.Module, file: Path) -> None:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidInput(f"--weights {file}: not a readable state dict ({error})") from error
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InvalidInput(f"--weights {file}: {error}") from error
    # The classifier is not used; everything else must be there.
    needed = [name for name in missing if not name.startswith(("fc.", "classifier."))]
    if needed or unexpected:
        raise InvalidInput(
            f"--weights {file}: {len(needed)} tensors of the backbone are missing "
            f"({', '.join(needed[:3])} ...) and {len(unexpected)} are unknown"
        )


def _keep_resolution(stage: nn.Module) -> None:
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


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
