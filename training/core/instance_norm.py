"""IBN-Net's a: a network that normalises half of its early channels per image.

What instance normalisation removes is the image's own mean and deviation, which mostly reflect
light, colour and camera; the other half keeps what tells people apart (Pan et al., ECCV 2018).
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

# Number of stages until the map has an eighth of the size: layer2 of a ResNet ends there.
_EARLY = {"resnet50": 6, "resnet18": 6, "mobilenet_v2": 7}
_WITH_EXPANSION = 4  # layers of a MobileNetV2 block; without an expansion it has three


class InstanceBatchNorm(nn.Module):
    """Instance normalisation of the first half of the channels, batch normalisation of the rest.

    Its children have the names of the authors' code, so that their weights can be loaded.

    Args:
        channels: number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instanced = channels // 2
        self.IN = nn.InstanceNorm2d(self.instanced, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.instanced)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> the same shape."""
        first, rest = maps.tensor_split([self.instanced], dim=1)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)


def halve_norm(norm: nn.BatchNorm2d) -> InstanceBatchNorm:
    """Turn a normalisation into one whose first half of the channels is normalised per image.

    Args:
        norm: of any kind of batch normalisation, with scale and shift.

    Returns:
        The new normalisation, with the same scale, shift and, for the rest, statistics.
    """
    halves, rest = InstanceBatchNorm(norm.num_features), deepcopy(norm)
    own = halves.instanced
    with torch.no_grad():
        halves.IN.weight.copy_(norm.weight[:own])
        halves.IN.bias.copy_(norm.bias[:own])
    rest.num_features -= own
    for name in ("weight", "bias"):
        setattr(rest, name, nn.Parameter(getattr(norm, name)[own:].detach().clone()))
    for name in ("running_mean", "running_var"):
        setattr(rest, name, getattr(norm, name)[own:].clone())
    halves.BN = rest
    return halves


def add_instance_norm(stages: nn.Sequential, backbone: str) -> None:
    """Halve early normalisations after a block's first convolution, and keep what was learned.

    Args:
        stages: all stages, changed in place: down to an eighth of the size. A block of MobileNetV2
            without an expansion stays as it is.
        backbone: ``resnet50``, ``resnet18`` or ``mobilenet_v2``.
    """
    # torchvision takes seconds to import, and an exported model does not need it.
    from torchvision.models.mobilenetv2 import InvertedResidual  # noqa: PLC0415
    from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: PLC0415

    for block in list(stages[: _EARLY[backbone]].modules()):
        if isinstance(block, BasicBlock | Bottleneck):
            block.bn1 = halve_norm(block.get_submodule("bn1"))
        elif isinstance(block, InvertedResidual) and len(block.conv) == _WITH_EXPANSION:
            expansion = block.conv.get_submodule("0")
            expansion[1] = halve_norm(expansion[1])


def use_instance_norm(resnet: nn.Module) -> None:
    """Turn a ResNet of bottlenecks into its IBN-a form, with new normalisations.

    In layer1 to layer3, the normalisation after each block's first convolution is replaced; layer4
    keeps its own, because late channels tell people apart.

    Args:
        resnet: torchvision's, changed in place.
    """
    for name in ("layer1", "layer2", "layer3"):
        for block in resnet.get_submodule(name).children():
            block.bn1 = InstanceBatchNorm(block.get_submodule("bn1").num_features)  # type: ignore[arg-type]
