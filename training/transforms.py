"""What happens to a batch of crops between memory and network, on the network's device.

Crops are decoded once and kept as uint8; every choice comes from one NumPy generator, so a run is
repeatable on any device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.options import AugmentOptions

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_GREY = (0.299, 0.587, 0.114)
# Rows are luma, in-phase, quadrature: hue is a rotation of the last two.
_RGB_TO_YIQ = np.array([_GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


def normalise(images: Tensor) -> Tensor:
    """Pixels to what the ImageNet weights expect.

    Args:
        images: (N, H, W, 3) uint8, or float 0..255.

    Returns:
        (N, 3, H, W) float32.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=images.device) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device) * 255
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def augment(images: Tensor, options: AugmentOptions, rng: np.random.Generator) -> Tensor:
    """HHCL's training transform on a batch, plus colour changes where asked.

    Mirror, pad and crop, colour, normalise, erase. The erased rectangle is filled with the ImageNet
    mean *after* normalisation, as the reference does, so it is not the mean colour.

    Args:
        images: (N, H, W, 3) uint8 on any device.
        options: what to do.
        rng: source of every choice.

    Returns:
        (N, 3, H, W) float32, normalised, on the same device.
    """
    moved = _shift_and_mirror(images, options, rng)
    coloured = _change_colours(moved.float(), options, rng)
    return _erase(normalise(coloured), options.erasing, rng)


def _shift_and_mirror(images: Tensor, options: AugmentOptions, rng: np.random.Generator) -> Tensor:
    count, height, width, _ = images.shape
    pad = options.padding
    top, left = rng.integers(0, 2 * pad + 1, size=(2, count))
    mirrored = rng.random(count) < options.flip
    rows = top[:, None] + np.arange(height)  # (N, H)
    columns = left[:, None] + np.arange(width)  # (N, W)
    columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))
    device = images.device
    return padded[
        torch.arange(count, device=device)[:, None, None],
        torch.from_numpy(rows).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]


def _change_colours(images: Tensor, options: AugmentOptions, rng: np.random.Generator) -> Tensor:
    """(N, H, W, 3) float 0..255 -> the same; one 3x3 matrix and one offset an image."""
    count = len(images)
    matrix = np.stack([_colour_matrix(options, rng) for _ in range(count)])
    contrast = rng.uniform(1 - options.contrast, 1 + options.contrast, size=count)
    mixed = images @ torch.from_numpy(matrix).to(images).transpose(1, 2)[:, None]
    grey = (mixed @ torch.tensor(_GREY).to(images)).mean(dim=(1, 2))[:, None, None, None]
    factor = torch.from_numpy(contrast).to(images)[:, None, None, None]
    return (grey + factor * (mixed - grey)).clamp(0, 255)


def _colour_matrix(options: AugmentOptions, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brightness, hue and saturation of one image as one 3x3 matrix on RGB columns."""
    brightness = rng.uniform(1 - options.brightness, 1 + options.brightness)
    saturation = rng.uniform(1 - options.saturation, 1 + options.saturation)
    angle = 2 * math.pi * rng.uniform(-options.hue, options.hue)
    if rng.random() < options.greyscale:
        saturation = 0.0
    cos, sin = saturation * math.cos(angle), saturation * math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    matrix: NDArray[np.float64] = brightness * np.linalg.inv(_RGB_TO_YIQ) @ turn @ _RGB_TO_YIQ
    return matrix


def _erase(images: Tensor, chance: float, rng: np.random.Generator) -> Tensor:
    fill = torch.tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
    for image in images:
        if rng.random() < chance:
            box = draw_erased_box(image.shape[1], image.shape[2], rng)
            if box is not None:
                top, left, height, width = box
                image[:, top : top + height, left : left + width] = fill
    return images


def draw_erased_box(
    height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """A rectangle of 2-40 % of the area and an aspect of 0.3-3.33 that fits, in 100 tries.

    Args:
        height: of the image.
        width: of the image.
        rng: source of every choice.

    Returns:
        (top, left, height, width), or None when no try fitted.
    """
    for _ in range(100):
        area = rng.uniform(0.02, 0.4) * height * width
        aspect = rng.uniform(0.3, 1 / 0.3)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if tall < height and wide < width:
            top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
            return int(top), int(left), tall, wide
    return None
