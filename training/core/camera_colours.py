"""Give crops the colours of their site's other cameras: the same person in another camera.

The mean and covariance of a crop's pixels in RGB mostly reflect the camera, its light and its
exposure (Reinhard et al. 2001). They are replaced by those of a crop that another camera of the
site took. No label is needed. The linear map is the one that changes colours least (Pitie and
Kokaram 2007): ``A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2`` turns the covariance S into T, with
symmetric roots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.core.pixels import Pixels

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

_BATCH = 256
# Variance of each colour's noise, in grey levels squared. Without it, the noise of a crop of one
# colour would be stretched to the other crop's contrast.
_NOISE = 4.0


@dataclass(frozen=True, slots=True)
class Target:
    """The colours that crops of a batch get.

    Attributes:
        chosen: (n,) bool, which crops change.
        means: (n, 3) float32, RGB in 0..255.
        covariances: (n, 3, 3) float32.
    """

    chosen: NDArray[np.bool_]
    means: Float32s
    covariances: Float32s

    def part(self, rows: slice) -> Target:
        """Select some of the crops.

        Args:
            rows: which crops.

        Returns:
            Their target.
        """
        return Target(self.chosen[rows], self.means[rows], self.covariances[rows])


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of a run's crops.

    Attributes:
        means: (N, 3) float32, RGB in 0..255.
        covariances: (N, 3, 3) float32.
        others: for each camera, the crops of each other camera of its site, as indices.
    """

    means: Float32s
    covariances: Float32s
    others: tuple[tuple[Int64s, ...], ...]

    def draw(self, cameras: Int64s, chance: float, rng: np.random.Generator) -> Target:
        """Choose for each crop of a batch whose colours it gets: another camera, then its crop.

        Args:
            cameras: (n,) int64, the camera of each crop.
            chance: probability that a crop changes, 0..1; without another camera, none does.
            rng: source of every random choice.

        Returns:
            The target.
        """
        shares = rng.random((len(cameras), 3))
        donors = np.zeros(len(cameras), dtype=np.int64)
        chosen = shares[:, 0] < chance
        for row, (camera, (_, which, crop)) in enumerate(zip(cameras, shares, strict=True)):
            others = self.others[camera]
            chosen[row] &= bool(others)
            if others:
                of_camera = others[int(which * len(others))]
                donors[row] = of_camera[int(crop * len(of_camera))]
        return Target(chosen, self.means[donors], self.covariances[donors])


def mix_palette(
    pixels: Pixels, cameras: Int64s, sites: Int64s, tell: Callable[[str], None]
) -> Palette | None:
    """Compute the colours of a run's crops.

    Args:
        pixels: the run's N crops.
        cameras: (N,) int64.
        sites: (N,) int64.
        tell: takes messages for people: cameras that are alone at their site.

    Returns:
        The palette; None if no site has two cameras.
    """
    others = _others(cameras, sites)
    used = np.unique(cameras)
    alone = sum(not others[camera] for camera in used)
    if alone:
        tell(
            f"augment.camera_colours: {alone} of {len(used)} cameras have no other at their site; "
            "their crops keep their colours"
        )
    if alone == len(used):
        return None
    starts = range(0, len(pixels), _BATCH)
    rows = [np.arange(start, min(start + _BATCH, len(pixels))) for start in starts]
    parts = [colours_of(pixels.take(row).float()) for row in rows]
    means, covariances = (torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
    return Palette(means, covariances, others)


def _others(cameras: Int64s, sites: Int64s) -> tuple[tuple[Int64s, ...], ...]:
    """For each camera, the crops of each other camera of its site."""
    crops = [np.flatnonzero(cameras == camera) for camera in range(int(cameras.max()) + 1)]
    site_of = [int(sites[of[0]]) if len(of) else -1 for of in crops]
    return tuple(
        tuple(
            crops[other]
            for other in range(len(crops))
            if other != camera and site_of[other] == site_of[camera] != -1
        )
        for camera in range(len(crops))
    )


def colours_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean and covariance of crops' pixels.

    Args:
        images: (n, H, W, 3) float, RGB in 0..255.

    Returns:
        (n, 3) and (n, 3, 3) float32.
    """
    pixels = images.flatten(1, 2)
    means = pixels.mean(dim=1)
    centred = pixels - means[:, None]
    return means, centred.mT @ centred / pixels.shape[1]


def put_on(images: Tensor, target: Target) -> Tensor:
    """Give crops other colours.

    Args:
        images: (n, H, W, 3) uint8, or float 0..255.
        target: the colours of these n crops.

    Returns:
        (n, H, W, 3) float32, 0..255; crops that were not chosen are unchanged.
    """
    changed = images.float()
    rows = torch.from_numpy(target.chosen.nonzero()[0]).to(images.device)
    if len(rows) == 0:
        return changed
    own = changed[rows]
    wanted_means, wanted = (
        torch.from_numpy(each[target.chosen]).to(own) for each in (target.means, target.covariances)
    )
    means, covariances = colours_of(own)
    moved = (own - means[:, None, None]) @ _transport(covariances, wanted)[:, None]
    return changed.index_copy(0, rows, (moved + wanted_means[:, None, None]).clamp(0, 255))


def _transport(source: Tensor, wanted: Tensor) -> Tensor:
    """(n, 3, 3) symmetric matrices that turn one covariance into the other."""
    noise = _NOISE * torch.eye(3, device=source.device, dtype=torch.float64)
    source, wanted = source.double() + noise, wanted.double() + noise
    root, inverse = _power(source, 0.5), _power(source, -0.5)
    return (inverse @ _power(root @ wanted @ root, 0.5) @ inverse).float()


def _power(matrices: Tensor, exponent: float) -> Tensor:
    """Power of symmetric positive definite matrices."""
    values, vectors = torch.linalg.eigh(matrices)
    power: Tensor = (vectors * values[:, None] ** exponent) @ vectors.mT
    return power
