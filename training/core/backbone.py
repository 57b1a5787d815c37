"""Backbones without their classifier, frozen stages, style mixing on early maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast

import torch
from torch import Tensor, nn

from service.errors import InvalidInput
from training.core.folding import FoldedStages
from training.core.instance_norm import use_instance_norm
from training.core.stages import Stages, Undivided, keep_resolution
from training.core.start_weights import load_backbone
from training.core.timm_backbone import PREFIX, build_timm_stages

if TYPE_CHECKING:
    from torchvision import models

_CLASSIFIERS = ("fc.", "classifier.")


def build_stages(
    backbone: str, *, weights: str = "default", last_stride: Literal[1, 2] = 1
) -> Stages:
    """Build a backbone, with batch normalisation over the whole batch.

    Args:
        backbone: torchvision's ``resnet50``, ``resnet18`` or ``mobilenet_v2``; ``resnet50_ibn``; or
            ``timm/NAME``.
        weights: ``default`` (ImageNet weights by download), ``none`` (random), or a file with a
            state dict of the backbone, tensors only.
        last_stride: stride of the last stage that halves the map; the papers use 1.

    Returns:
        The backbone.

    Raises:
        InvalidInput: the weights cannot be downloaded or read, or do not fit; or the package timm
            is not installed, or its network is not suitable.
    """
    if backbone.startswith(PREFIX):
        return build_timm_stages(backbone, weights=weights, last_stride=last_stride)
    model = _torchvision_model(backbone, weights)
    match backbone:
        case "mobilenet_v2":
            mobilenet = cast("models.MobileNetV2", model)
            dimension = mobilenet.last_channel
            features = mobilenet.features
            last_stage: nn.Module = mobilenet.features[14]
            mix_after = (3, 6)  # the last maps at a quarter and at an eighth of the size
        case _:
            resnet = cast("models.ResNet", model)
            dimension = resnet.fc.in_features
            features = nn.Sequential(*list(resnet.children())[:-2])
            last_stage = resnet.layer4
            mix_after = (4, 5)  # layer1 and layer2, the published places
    if last_stride == 1:
        keep_resolution(last_stage)
    return Stages(features, dimension, mix_after)


def _torchvision_model(backbone: str, weights: str) -> nn.Module:
    match weights:
        case "none":
            return _torchvision(backbone, None)
        case "default":
            return _download(backbone)
        case file:
            model = _torchvision(backbone, None)
            load_backbone(model, Path(file), _CLASSIFIERS)
            return model


def _download(backbone: str) -> nn.Module:
    if backbone == "resnet50_ibn":
        raise InvalidInput(
            "--weights default: torchvision has no weights of resnet50_ibn; give its authors' file "
            "with --weights FILE, or start from --weights none"
        )
    try:
        return _torchvision(backbone, "IMAGENET1K_V1")
    except (OSError, RuntimeError) as error:
        raise InvalidInput(
            f"--weights default: torchvision's {backbone} weights could not be downloaded "
            f"({error}); give a file with --weights FILE, or start from --weights none"
        ) from error


def _torchvision(backbone: str, weights: str | None) -> nn.Module:
    # torchvision takes seconds to import, and an exported model does not need it.
    from torchvision import models  # noqa: PLC0415

    model = cast("nn.Module", models.get_model(backbone.removesuffix("_ibn"), weights=weights))
    if backbone == "resnet50_ibn":
        use_instance_norm(model)
    return model


class PartlyFrozen(nn.Sequential):
    """Stages of which the first keep their start weights and statistics, in training too.

    Early stages of ImageNet weights see edges and colours as photographs have them. Pictures that a
    program made would pull them away, and real crops would be worse off (Hinterstoisser et al.,
    ECCV workshops 2018). Training is quicker, since large maps need no gradient.

    Args:
        stages: all stages; names in the state dict stay.
        frozen: how many are frozen.

    Raises:
        InvalidInput: there are not so many stages, or the backbone cannot be divided.
    """

    def __init__(self, stages: nn.Sequential, frozen: int) -> None:
        super().__init__(*stages)
        if frozen > len(stages):
            raise InvalidInput(
                f"model.frozen_stages = {frozen}: this backbone has {len(stages)} stages"
            )
        if any(isinstance(module, Undivided) for module in stages.modules()):
            raise InvalidInput(
                f"model.frozen_stages = {frozen}: this backbone cannot be divided into stages, so "
                "it must be 0"
            )
        self._frozen = tuple(stages)[:frozen]
        self._folded = FoldedStages(self._frozen)
        for stage in self._frozen:
            stage.requires_grad_(requires_grad=False)
        self.train(self.training)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised -> (N, D, h, w)."""
        features, learning = images, tuple(self)
        # A GPU and a compiler have better ways, and an export must show every layer.
        if self.training and not images.is_cuda and not torch.compiler.is_compiling():
            features = self._folded(images)
            learning = learning[len(self._frozen) :]
        for stage in learning:
            features = stage(features)
        return features

    def train(self, mode: bool = True) -> Self:
        """Switch all but the frozen stages to training or evaluation mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self


def style_of(stages: Stages, chance: float) -> StyleMixing | None:
    """Make what mixes the styles of a backbone's early maps.

    Args:
        stages: the backbone.
        chance: probability that a map is mixed, 0..1.

    Returns:
        The layer; None if nothing is to be mixed.

    Raises:
        InvalidInput: the backbone has no place for it.
    """
    if not chance:
        return None
    if not stages.mix_after:
        raise InvalidInput(
            f"augment.style_mixing = {chance}: this backbone cannot be divided into stages, or has "
            "no map of a quarter or an eighth of the crop's height, so it must be 0"
        )
    return StyleMixing(chance)


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
