"""Augment and normalise a batch of crops on the network's device.

Crops are decoded once and kept as uint8. All random choices come from one NumPy generator and are
made for the whole batch before any pixel changes. So a run is repeatable on any device, and
processes that share a batch make the same choices as a single process would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.core.camera_colours import Palette, Target, put_on
from training.core.options import AugmentOptions

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_GREY = (0.299, 0.587, 0.114)
# Rows are luma, in-phase, quadrature: hue is a rotation of the last two.
_RGB_TO_YIQ = np.array([_GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


def normalise(images: Tensor) -> Tensor:
    """Normalise pixels as the ImageNet weights expect them.

    Args:
        images: (N, H, W, 3) uint8, or float 0..255.

    Returns:
        (N, 3, H, W) float32, with channels innermost in memory, which is fastest for convolutions.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=images.device) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device) * 255
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Donors:
    """Whose colours the crops of a batch may get.

    Attributes:
        palette: the colours of the run's crops.
        cameras: (N,) int64, the camera of each crop of the batch.
    """

    palette: Palette
    cameras: Int64s


@dataclass(frozen=True, slots=True)
class Choices:
    """The random choices for each crop of a batch.

    Attributes:
        padding: black pixels added on each side before cropping.
        corners: (N, 2) int64, top and left corner of the crop in the padded image.
        mirrored: (N,) bool.
        colours: (N, 3, 3) float64, applied to RGB columns.
        contrast: (N,) float64, factor around the crop's mean grey.
        erased: (N, 4) int64, top, left, height, width; height 0 if nothing is erased.
        target: the colours of other cameras that the crops get; None if they keep their own.
    """

    padding: int
    corners: Int64s
    mirrored: NDArray[np.bool_]
    colours: Float64s
    contrast: Float64s
    erased: Int64s
    target: Target | None = None

    def part(self, rows: slice) -> Choices:
        """Select the choices of some of the crops.

        Args:
            rows: which crops.

        Returns:
            Their choices.
        """
        return Choices(
            padding=self.padding,
            corners=self.corners[rows],
            mirrored=self.mirrored[rows],
            colours=self.colours[rows],
            contrast=self.contrast[rows],
            erased=self.erased[rows],
            target=None if self.target is None else self.target.part(rows),
        )


def draw_choices(
    count: int,
    size: tuple[int, int],
    options: AugmentOptions,
    rng: np.random.Generator,
    donors: Donors | None = None,
) -> Choices:
    """Make the random choices for a batch.

    Args:
        count: N, crops in the batch.
        size: their height and width.
        options: the augmentation.
        rng: source of every random choice.
        donors: whose colours the crops may get; None leaves their own.

    Returns:
        The choices.
    """
    corners = rng.integers(0, 2 * options.padding + 1, size=(2, count)).T
    mirrored = rng.random(count) < options.flip
    colours = _draw_colours(count, options, rng)
    contrast = rng.uniform(1 - options.contrast, 1 + options.contrast, size=count)
    erased = np.zeros((count, 4), dtype=np.int64)
    for row in range(count):
        if rng.random() < options.erasing:
            box = draw_erased_box(*size, rng)
            erased[row] = (0, 0, 0, 0) if box is None else box
    target = None
    if donors is not None:
        target = donors.palette.draw(donors.cameras, options.camera_colours, rng)
    return Choices(options.padding, corners, mirrored, colours, contrast, erased, target)


def augment(
    images: Tensor,
    options: AugmentOptions,
    rng: np.random.Generator,
    donors: Donors | None = None,
) -> Tensor:
    """Augment a batch as HHCL does in training, plus colour changes if the options ask for them.

    Args:
        images: (N, H, W, 3) uint8 on any device.
        options: the augmentation.
        rng: source of every random choice.
        donors: whose colours the crops may get; None leaves their own.

    Returns:
        (N, 3, H, W) float32, normalised, on the same device.
    """
    count, height, width, _ = images.shape
    return apply_choices(images, draw_choices(count, (height, width), options, rng, donors))


def apply_choices(images: Tensor, choices: Choices) -> Tensor:
    """Put on another camera's colours, mirror, pad and crop, change colours, normalise, erase.

    The erased rectangle is filled with the ImageNet mean *after* normalisation, as in the released
    code, so it is not the mean colour.

    Args:
        images: (N, H, W, 3) uint8 on any device.
        choices: the choices for these N crops.

    Returns:
        (N, 3, H, W) float32, normalised, on the same device.
    """
    # Before padding, because black borders are no colours of the camera.
    seen = images if choices.target is None else put_on(images, choices.target)
    moved = _shift_and_mirror(seen, choices)
    return _erase(normalise(_change_colours(moved.float(), choices)), choices.erased)


def _shift_and_mirror(images: Tensor, choices: Choices) -> Tensor:
    count, height, width, _ = images.shape
    pad = choices.padding
    rows = choices.corners[:, :1] + np.arange(height)  # (N, H)
    columns = choices.corners[:, 1:] + np.arange(width)  # (N, W)
    columns = np.where(choices.mirrored[:, None], columns[:, ::-1], columns)
    padded = F.pad(images, (0, 0, pad, pad, pad, pad))
    device = images.device
    return padded[
        torch.arange(count, device=device)[:, None, None],
        torch.from_numpy(rows).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]


def _draw_colours(count: int, options: AugmentOptions, rng: np.random.Generator) -> Float64s:
    """Brightness, hue and saturation of each image as one 3x3 matrix on RGB columns."""
    share = rng.random((count, 4))
    either_way = 2 * share[:, :3] - 1
    brightness = 1 + options.brightness * either_way[:, 0]
    saturation = 1 + options.saturation * either_way[:, 1]
    saturation[share[:, 3] < options.greyscale] = 0.0
    angle = 2 * math.pi * options.hue * either_way[:, 2]
    turn = np.zeros((count, 3, 3))
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * np.cos(angle)
    turn[:, 2, 1] = saturation * np.sin(angle)
    turn[:, 1, 2] = -turn[:, 2, 1]
    back = np.linalg.inv(_RGB_TO_YIQ)
    matrix: Float64s = brightness[:, None, None] * (back @ turn @ _RGB_TO_YIQ)
    return matrix


def _change_colours(images: Tensor, choices: Choices) -> Tensor:
    """(N, H, W, 3) float 0..255 -> the same; one 3x3 matrix and one factor per image."""
    if np.allclose(choices.colours, np.eye(3)) and (choices.contrast == 1).all():
        return images  # as in the paper; skip a matrix product that changes nothing
    matrix = torch.from_numpy(choices.colours).to(images)
    mixed = images @ matrix.transpose(1, 2)[:, None]
    grey = (mixed @ torch.tensor(_GREY).to(images)).mean(dim=(1, 2))[:, None, None, None]
    factor = torch.from_numpy(choices.contrast).to(images)[:, None, None, None]
    return (grey + factor * (mixed - grey)).clamp(0, 255)


def _erase(images: Tensor, boxes: Int64s) -> Tensor:
    """(N, 3, H, W) -> the same; all boxes at once, because every kernel launch costs time."""
    if not boxes[:, 2].any():
        return images
    top, left, tall, wide = torch.from_numpy(boxes).to(images.device).T[:, :, None]
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top) & (rows < top + tall)  # (N, H)
    in_columns = (columns >= left) & (columns < left + wide)  # (N, W)
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    fill = torch.tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
    return torch.where(inside, fill, images)


def draw_erased_box(
    height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """Draw a rectangle with 2-40 % of the image's area and an aspect of 0.3-3.33.

    Args:
        height: the image's height.
        width: the image's width.
        rng: source of every random choice.

    Returns:
        (top, left, height, width), or None if no rectangle fitted in 100 tries.
    """
    for _ in range(100):
        area = rng.uniform(0.02, 0.4) * height * width
        aspect = rng.uniform(0.3, 1 / 0.3)
        tall, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if tall < height and wide < width:
            top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
            return int(top), int(left), tall, wide
    return None
