"""ResNet-50-IBN-a: a ResNet that normalises half of its early channels per image.

What instance normalisation removes is the image's own mean and deviation, which mostly reflect
light, colour and camera; the other half keeps what tells people apart (Pan et al., ECCV 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
