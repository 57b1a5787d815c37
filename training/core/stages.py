"""A backbone as training sees it, whichever package its layers come from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Stages:
    """A backbone without its classifier.

    Attributes:
        features: stages that map (N, 3, H, W) normalised pixels to (N, D, h, w).
        dimension: D.
        mix_after: indices of the stages after which styles may be mixed; empty if nowhere.
    """

    features: nn.Sequential
    dimension: int
    mix_after: tuple[int, ...]


class Undivided(nn.Module):
    """A whole network as one stage: its layers do not run one after the other.

    Args:
        network: maps (N, 3, H, W) to (N, D, h, w) by ``forward_features``, as timm's networks do.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised -> (N, D, h, w)."""
        features: Tensor = self.network.forward_features(images)  # type: ignore[operator]
        return features


def keep_resolution(stage: nn.Module) -> None:
    """Let a stage's convolutions step one pixel instead of two, so that its map is not halved.

    Args:
        stage: changed in place; its weights stay as they are.
    """
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
