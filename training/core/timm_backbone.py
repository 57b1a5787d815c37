"""Backbones of the package timm, divided into stages, so that they train like torchvision's.

What timm promises differs by family, so every promise is tried out on one drawn crop when a network
is built: that its last map is (N, D, h, w), that its stages in a row compute what the whole
computes, and that ``last_stride = 1`` doubles the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from service.errors import InvalidInput
from training.core.stages import Stages, Undivided, keep_resolution
from training.core.start_weights import load_backbone
from training.core.transforms import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "timm/"
_HEAD = ("global_pool", "head", "fc", "classifier", "head_drop", "head_fc", "pre_logits")
_CONTAINERS = ("blocks", "stages", "features", "layers")  # each child of these is a stage
_SIZE = (256, 128)  # the papers' crops
_FAILURES = (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError)


class Repixel(nn.Module):
    """Takes pixels normalised as ours to those of a network with another mean and deviation.

    Both are part of the state, so that a checkpoint keeps what its network was trained with.

    Args:
        mean: the network's own, of RGB in 0..1.
        std: likewise.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        ours, theirs = torch.tensor(IMAGENET_STD), torch.tensor(std)
        shift = (torch.tensor(IMAGENET_MEAN) - torch.tensor(mean)) / theirs
        self.register_buffer("factor", (ours / theirs)[:, None, None])
        self.register_buffer("shift", shift[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32 -> the same shape."""
        return images * self.get_buffer("factor") + self.get_buffer("shift")


def build_timm_stages(backbone: str, *, weights: str, last_stride: Literal[1, 2]) -> Stages:
    """Build one of timm's networks without its head.

    Args:
        backbone: ``timm/`` and timm's name, with its tag of weights or without.
        weights: ``default`` (timm's download), ``none`` (random), or a file with a state dict.
        last_stride: stride of the stage that halves the map to a thirty-second.

    Returns:
        The backbone. Pixels are normalised for it in its first stage, if its weights expect another
        mean and deviation than ImageNet's.

    Raises:
        InvalidInput: timm is not installed or has no such network, its last map is not
            (N, D, h, w), the last stride cannot be 1, or the weights do not fit.
    """
    model = _create(backbone, weights)
    with torch.no_grad():
        tried = _try_out(backbone, model)
        if last_stride == 1:
            tried = _with_large_map(backbone, tried)
    _rescale_pixels(tried.features, model)
    return Stages(tried.features.train(), tried.dimension, tried.mix_after())


@dataclass(frozen=True, slots=True)
class _Tried:
    """Stages, and the height of the map after each for a crop of 256 x 128."""

    features: nn.Sequential
    dimension: int
    heights: tuple[int, ...]

    def mix_after(self) -> tuple[int, ...]:
        """The last stages whose maps have a quarter and an eighth of the crop's height."""
        last = {height: position for position, height in enumerate(self.heights[:-1])}
        wanted = (last.get(_SIZE[0] // 4), last.get(_SIZE[0] // 8))
        return tuple(position for position in wanted if position is not None)


def _create(backbone: str, weights: str) -> nn.Module:
    try:
        import timm  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"model.backbone = {backbone} needs the extra timm "
            '(pip install "hhcl-reid[training,timm]")'
        ) from error
    name, download = backbone.removeprefix(PREFIX), weights == "default"
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=download, num_classes=0, global_pool=""
        )
    except (*_FAILURES, OSError) as error:
        hint = "; give a file with --weights FILE, or start from --weights none" if download else ""
        raise InvalidInput(f"model.backbone = {backbone}: {error}{hint}") from error
    if weights not in {"default", "none"}:
        load_backbone(model, Path(weights), tuple(f"{part}." for part in _HEAD))
    return model


def _try_out(backbone: str, model: nn.Module) -> _Tried:
    """Divide a network into stages that compute the same map, or make one stage of it."""
    model.eval()
    whole = Undivided(model)
    try:
        expected = whole(_drawn_crop())
    except _FAILURES as error:
        raise InvalidInput(
            f"model.backbone = {backbone} does not run on a crop of {_SIZE[0]} x {_SIZE[1]}: "
            f"{error}"
        ) from error
    dimension = getattr(model, "num_features", None)
    if expected.ndim != 4 or expected.shape[1] != dimension:
        raise InvalidInput(
            f"model.backbone = {backbone}: its last map is {tuple(expected.shape)}, must be "
            f"(N, D, h, w) with D = {dimension} channels: networks of tokens and networks with the "
            "channels last cannot be used"
        )
    _separate_activations(model)
    for features in (_in_sequence(model), nn.Sequential(whole)):
        maps = _maps(features)
        if maps and _is_same(maps[-1], expected):
            return _Tried(features, maps[-1].shape[1], tuple(each.shape[2] for each in maps))
    raise InvalidInput(f"model.backbone = {backbone} computes differently each time")


def _in_sequence(model: nn.Module) -> nn.Sequential:
    stages: list[nn.Module] = []
    for name, child in model.named_children():
        if name in _HEAD:
            break
        stages += child.children() if name in _CONTAINERS else [child]
    return nn.Sequential(*stages)


def _maps(stages: nn.Sequential) -> list[Tensor]:
    """The map after each stage; empty if the stages do not run in a row."""
    maps = [_drawn_crop()]
    try:
        for stage in stages:
            maps.append(stage(maps[-1].clone()))  # a stage may work in place
        return maps[1:] if all(each.ndim == 4 for each in maps) else []
    except (*_FAILURES, AttributeError):
        return []


def _is_same(found: Tensor, expected: Tensor) -> bool:
    """Within rounding of the largest value: random networks can have tiny maps."""
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


def _with_large_map(backbone: str, tried: _Tried) -> _Tried:
    """Remove the stride of the stage that halves the map to a thirty-second."""
    before, after = _SIZE[0] // 16, _SIZE[0] // 32
    for stage, steps in zip(tried.features, pairwise((0, *tried.heights)), strict=True):
        if steps == (before, after):
            keep_resolution(stage)
    maps = _maps(tried.features)
    if maps and maps[-1].shape[2:] == (before, _SIZE[1] // 16):
        return _Tried(tried.features, tried.dimension, tuple(each.shape[2] for each in maps))
    raise InvalidInput(
        f"model.backbone = {backbone}: the stride of its last stage is no plain convolution's, so "
        "model.last_stride must be 2"
    )


def _separate_activations(module: nn.Module) -> None:
    """Make a plain batch normalisation, and what follows it, of each of timm's with activation.

    HHCL replaces batch normalisations by ghost groups, and would drop an activation inside.
    """
    from timm.layers.norm_act import BatchNormAct2d  # noqa: PLC0415 - an optional package

    for name, child in module.named_children():
        if not isinstance(child, BatchNormAct2d):
            _separate_activations(child)
            continue
        plain = nn.BatchNorm2d(child.num_features, child.eps, child.momentum)
        own = {key: t for key, t in child.state_dict().items() if key in plain.state_dict()}
        plain.load_state_dict(own)
        setattr(module, name, nn.Sequential(plain.train(child.training), child.drop, child.act))


def _rescale_pixels(features: nn.Sequential, model: nn.Module) -> None:
    known = getattr(model, "pretrained_cfg", {})
    mean = tuple(known.get("mean", IMAGENET_MEAN))
    std = tuple(known.get("std", IMAGENET_STD))
    if (mean, std) != (IMAGENET_MEAN, IMAGENET_STD):
        features[0] = nn.Sequential(Repixel(mean, std), features[0])


def _drawn_crop() -> Tensor:
    """One crop of random pixels, the same each time; the run's own random numbers stay."""
    return torch.randn(1, 3, *_SIZE, generator=torch.Generator().manual_seed(0))
