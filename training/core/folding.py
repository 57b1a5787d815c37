"""Fold batch normalisation into the convolution before it, where a network only embeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

M = TypeVar("M", bound=nn.Module)

_PIECE = 16  # images: on a CPU, maps of more leave its cache between two layers
_BLOCK_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))


def fold_norms(network: M) -> M:
    """Give each convolution of a twin the scale and shift of the normalisation behind it.

    In evaluation mode a batch normalisation is one factor and one offset per channel, so the twin
    computes the same but for rounding, and saves a pass over every map: MobileNetV2 embeds in about
    70 % of the time on a CPU. Convolutions whose normalisation does not surely follow them, as in
    networks of timm's own classes, stay as they are.

    Args:
        network: stays unchanged.

    Returns:
        The twin, in evaluation mode. Only the folded convolutions have weights of their own, so use
        it before the network learns on.
    """
    folded = _twin(network, {}).eval()
    for parent in list(folded.modules()):
        for convolution, norm in list(_pairs(parent)):
            _fuse(getattr(parent, convolution), getattr(parent, norm))
            setattr(parent, norm, nn.Identity())
    return folded


def _twin(module: M, twins: dict[nn.Module, nn.Module]) -> M:
    """A module that shares every tensor, with submodules of its own.

    A deep copy of MobileNetV2 takes 50 ms, longer than a small run needs to embed its crops.

    Args:
        module: stays unchanged.
        twins: of the modules before; a module that occurs twice has one twin.
    """
    if module not in twins:
        twin = twins[module] = object.__new__(type(module))
        vars(twin).update(vars(module))
        for kind in ("_parameters", "_buffers"):
            vars(twin)[kind] = dict(vars(module)[kind])
        children = vars(module)["_modules"].items()
        vars(twin)["_modules"] = {
            name: None if child is None else _twin(child, twins) for name, child in children
        }
    return cast("M", twins[module])


def _fuse(into: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give a twin of a convolution weights of its own."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a normalisation without running statistics cannot be folded")
    into.weight, into.bias = fuse_conv_bn_weights(
        into.weight, into.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )


class FoldedStages:
    """Runs stages that do not learn, with their normalisations folded, on a few images at a time.

    Args:
        stages: in evaluation mode. They are folded again whenever one of their tensors changes.
    """

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        self._stages = nn.Sequential(*stages)
        self._folded = self._stages
        self._folded_from: list[tuple[int, int]] = []

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, h, w), without gradients."""
        tensors = self._stages.state_dict().values()
        now = [(each.data_ptr(), each._version) for each in tensors]  # noqa: SLF001 - autograd's own
        if now != self._folded_from:
            self._folded, self._folded_from = fold_norms(self._stages), now
        with torch.no_grad():
            return torch.cat([self._folded(piece) for piece in images.split(_PIECE)])


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """The names of a convolution and of the batch normalisation that surely follows it."""
    # torchvision takes seconds to import, and an exported model does not need it.
    from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: PLC0415

    names: list[tuple[str, str]] = []
    if isinstance(parent, BasicBlock | Bottleneck):
        names = [pair for pair in _BLOCK_PAIRS if hasattr(parent, pair[0])]
    elif type(parent).forward is nn.Sequential.forward:
        names = list(pairwise(name for name, _ in parent.named_children()))
    for convolution, norm in names:
        first, second = getattr(parent, convolution), getattr(parent, norm)
        if type(first) is nn.Conv2d and isinstance(second, nn.BatchNorm2d):
            yield convolution, norm
