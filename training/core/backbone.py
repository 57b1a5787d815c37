"""Torchvision backbones without their classifier, frozen stages, style mixing on early maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

import torch
from torch import Tensor, nn

from service.errors import InvalidInput

if TYPE_CHECKING:
    from torchvision import models

Backbone = Literal["resnet50", "resnet18", "mobilenet_v2"]


@dataclass(frozen=True, slots=True)
class Stages:
    """A backbone without its classifier.

    Attributes:
        features: stages that map (N, 3, H, W) normalised pixels to (N, D, h, w).
        dimension: D.
        mix_after: indices of the stages after which styles may be mixed.
    """

    features: nn.Sequential
    dimension: int
    mix_after: tuple[int, ...]


def build_stages(
    backbone: Backbone, *, weights: str = "default", last_stride: Literal[1, 2] = 1
) -> Stages:
    """Build one of torchvision's backbones, with torchvision's batch normalisation.

    Args:
        backbone: torchvision's name.
        weights: ``default`` (torchvision's ImageNet weights), ``none`` (random), or a file with a
            state dict of the backbone, tensors only.
        last_stride: stride of the last stage that halves the map; the papers use 1.

    Returns:
        The backbone.

    Raises:
        InvalidInput: the weights cannot be downloaded or read, or do not fit.
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
            return _torchvision(backbone, None)
        case "default":
            try:
                return _torchvision(backbone, "IMAGENET1K_V1")
            except (OSError, RuntimeError) as error:
                raise InvalidInput(
                    f"--weights default: torchvision's {backbone} weights could not be downloaded "
                    f"({error}); give a file with --weights FILE, or start from --weights none"
                ) from error
        case file:
            model = _torchvision(backbone, None)
            _load_backbone(model, Path(file))
            return model


def _torchvision(backbone: Backbone, weights: str | None) -> nn.Module:
    # torchvision takes seconds to import, and an exported model does not need it.
    from torchvision import models  # noqa: PLC0415

    return cast("nn.Module", models.get_model(backbone, weights=weights))


def _load_backbone(model: nn.Module, file: Path) -> None:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidInput(f"--weights {file}: not a readable state dict ({error})") from error
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise InvalidInput(f"--weights {file}: {error}") from error
    # The classifier is not used, so it may be missing; everything else must be there.
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


class PartlyFrozen(nn.Sequential):
    """Stages of which the first keep their start weights and statistics, in training too.

    Early stages of ImageNet weights see edges and colours as photographs have them. Pictures that a
    program made would pull them away, and real crops would be worse off (Hinterstoisser et al.,
    ECCV workshops 2018). Training is quicker, since large maps need no gradient.

    Args:
        stages: all stages; names in the state dict stay.
        frozen: how many are frozen.

    Raises:
        InvalidInput: there are not so many stages.
    """

    def __init__(self, stages: nn.Sequential, frozen: int) -> None:
        super().__init__(*stages)
        if frozen > len(stages):
            raise InvalidInput(
                f"model.frozen_stages = {frozen}: this backbone has {len(stages)} stages"
            )
        self._frozen = tuple(stages)[:frozen]
        for stage in self._frozen:
            stage.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch all but the frozen stages to training or evaluation mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self


class StyleMixing(nn.Module):
    """Gives some maps of a batch a blend of their own style and another map's (MixStyle).

    The mean and deviation of an early channel mostly reflect light, colour and camera, not the
    person (Zhou et al., ICLR 2021). In evaluation mode nothing changes.

    Args:
        chance: probability that a map is mixed, 0..1.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape; random choices come from torch's global generator."""
        if not self.training or self.chance == 0:
            return features
        count = len(features)
        deviation, mean = torch.std_mean(features.detach(), dim=(2, 3), keepdim=True)
        partner = torch.randperm(count)
        # With the paper's Beta(0.1, 0.1), one of the two styles mostly stays nearly pure.
        kept = torch.distributions.Beta(0.1, 0.1).sample((count, 1, 1, 1))
        kept = torch.where(torch.rand(count, 1, 1, 1) < self.chance, kept, 1.0).to(features)
        new_mean = kept * mean + (1 - kept) * mean[partner]
        new_deviation = kept * deviation + (1 - kept) * deviation[partner]
        return (features - mean) / (deviation + 1e-6) * new_deviation + new_mean


def feature_map(
    stages: nn.Sequential,
    images: Tensor,
    mix_after: tuple[int, ...] = (),
    style: StyleMixing | None = None,
) -> Tensor:
    """Run a backbone's stages, and mix styles between them.

    Args:
        stages: the backbone's stages.
        images: (N, 3, H, W) float32, normalised.
        mix_after: indices of the stages after which ``style`` is applied.
        style: changes maps in training mode; None leaves them unchanged.

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
