"""A camera: its placement, the street that it sees, and how it changes colours."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from training.synthetic.drawn.backdrop import draw_backdrop
from training.synthetic.drawn.brush import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.synthetic.drawn.person import Person
    from training.synthetic.drawn.pose import Pose

GOLDEN = 0.618034
REFERENCE_HEIGHT = 1.72


@dataclass(frozen=True, slots=True)
class Placement:
    """Placement of a camera; angles in radians. ``path`` is the yaw of people coming towards it."""

    tilt: float
    perspective: float
    lean: float
    path: float


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """How a camera turns light into a picture.

    Attributes:
        cast: (3, 3) float32, the mixing of channels by its white balance.
        gain: brightness factor.
        gamma: exponent; above 1 darkens the middle tones.
        contrast: factor around middle grey.
        blur: standard deviation, pixels of a 128-pixel crop.
        noise: standard deviation, shares of white.
        detail: share of the crop's resolution that the camera resolves.
        quality: JPEG quality, 1..95.
    """

    cast: NDArray[np.float32]
    gain: float
    gamma: float
    contrast: float
    blur: float
    noise: float
    detail: float
    quality: int


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera of a data set, the same for all its crops.

    Attributes:
        placement: its geometry.
        sensor: its optics and electronics.
        sun: direction of the light, radians; 0 is the right, pi/2 above.
        backdrop: (H', W', 3) float32, 0..1, wider and higher than a crop.
    """

    placement: Placement
    sensor: Sensor
    sun: float
    backdrop: NDArray[np.float32]


def build_camera(
    shared: np.random.Generator, own: np.random.Generator, index: int, size: tuple[int, int]
) -> Camera:
    """Build one camera.

    A golden-ratio sequence spreads casts, exposures and paths over the cameras of a data set, so
    that two successive cameras are never similar by chance.

    Args:
        shared: random stream of all cameras of the data set, at its start.
        own: random stream of this camera alone.
        index: 0-based number of the camera.
        size: (height, width) of a crop, pixels.

    Returns:
        The camera.
    """
    offsets = shared.random(4)
    spread = [float((offset + index * GOLDEN) % 1.0) for offset in offsets]
    placement = Placement(
        tilt=float(own.uniform(0.05, 0.32)),
        perspective=float(own.uniform(0.0, 0.28)),
        lean=float(own.normal(0.0, 0.025)),
        path=math.pi * (spread[0] - 0.5),
    )
    sensor = Sensor(
        cast=_cast(own, 2.0 * math.pi * spread[1]),
        gain=0.95 + 0.25 * (spread[2] - 0.5),
        gamma=math.exp(0.5 * (spread[3] - 0.5)),
        contrast=float(own.uniform(0.78, 1.1)),
        blur=float(own.uniform(0.2, 0.8)),
        noise=float(own.uniform(0.008, 0.03)),
        detail=float(own.uniform(0.6, 1.0)),
        quality=int(own.integers(60, 93)),
    )
    sun = float(own.uniform(0.15, 0.85)) * math.pi
    return Camera(placement, sensor, sun, draw_backdrop(own, size))


def _cast(rng: np.random.Generator, hue: float) -> NDArray[np.float32]:
    """A white balance shifted towards a hue, with some leakage between channels."""
    strength = rng.uniform(0.07, 0.13)
    channels = np.array([0.0, 2.0, 4.0]) * math.pi / 3.0
    gains = np.exp(strength * np.cos(channels - hue))
    leak = rng.uniform(0.0, 0.14)
    mixing = (1.0 - leak) * np.eye(3) + leak / 3.0 + rng.normal(0.0, 0.02, (3, 3))
    return (gains[:, None] * mixing).astype(np.float32)


def frame_person(
    camera: Camera,
    person: Person,
    pose: Pose,
    rng: np.random.Generator,
    size: tuple[int, int],
    shift: float,
) -> View:
    """Place a person in a detector's box, which is never quite exact.

    Args:
        camera: the camera.
        person: the person; tall people fill more of the box.
        pose: the person's pose.
        rng: random stream of this crop.
        size: (height, width) of the canvas, pixels.
        shift: distance from the middle, as a share of the width.

    Returns:
        The view.
    """
    height, width = size
    tall = (person.body.height / REFERENCE_HEIGHT) ** 0.45
    scale = 0.88 * height * tall * float(np.exp(rng.normal(0.0, 0.05)))
    return View(
        yaw=pose.yaw,
        tilt=camera.placement.tilt,
        perspective=camera.placement.perspective,
        lean=camera.placement.lean,
        centre=width * float(0.5 + shift + rng.normal(0.0, 0.055)),
        floor=height * float(0.955 + rng.normal(0.0, 0.025)),
        scale=scale,
    )


def see_backdrop(
    camera: Camera, rng: np.random.Generator, size: tuple[int, int]
) -> NDArray[np.float32]:
    """A piece of the camera's street, (H, W, 3) float32, 0..1."""
    height, width = size
    high, wide = camera.backdrop.shape[:2]
    top = int(rng.integers((high - height) // 2, high - height + 1))
    left = int(rng.integers(0, wide - width + 1))
    return camera.backdrop[top : top + height, left : left + width].copy()


def expose(camera: Camera, scene: NDArray[np.float32], rng: np.random.Generator) -> bytes:
    """Turn light into a JPEG as this camera does.

    Args:
        camera: the camera.
        scene: (H, W, 3) float32, 0..1, RGB.
        rng: random stream of this crop.

    Returns:
        The bytes of a JPEG file.
    """
    sensor = camera.sensor
    light = scene @ sensor.cast.T
    light *= sensor.gain * float(np.exp(rng.normal(0.0, 0.07)))
    np.clip(light, 0.0, 1.0, out=light)
    light = light**sensor.gamma
    light = 0.5 + sensor.contrast * (light - 0.5)
    soft = _soften(sensor, light, rng)
    soft += sensor.noise * rng.standard_normal(soft.shape, dtype=np.float32)
    return _encode(soft, sensor.quality)


def _soften(
    sensor: Sensor, light: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Remove detail: a coarse sensor, then a lens slightly out of focus."""
    height, width = light.shape[:2]
    image = Image.fromarray((np.clip(light, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    if sensor.detail < 0.95:
        coarse = round(width * sensor.detail), round(height * sensor.detail)
        image = image.resize(coarse, Image.Resampling.BILINEAR)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    radius = sensor.blur * float(rng.uniform(0.6, 1.4)) * height / 128.0
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255.0


def _encode(light: NDArray[np.float32], quality: int) -> bytes:
    image = Image.fromarray((np.clip(light, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
