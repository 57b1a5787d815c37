"""A camera: where it hangs, what light falls on its street, and how it turns light into pixels.

Everybody walks about the origin, and cameras hang on the positive x side of it: streets are built
open on that side, and turned at random behind it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.light import Light, LightKind, draw_light, vary_light

if TYPE_CHECKING:
    from training.synthetic.bodies.knobs import Knobs, PictureKnobs, SceneKnobs

Float32s = NDArray[np.float32]

__all__ = [
    "Camera",
    "Film",
    "Light",
    "LightKind",
    "Position",
    "draw_camera",
    "vary_film",
    "vary_light",
]

GOLDEN = 0.618034
FRAME_WIDTH = 1280
PERSON = 1.7
LARGEST_AZIMUTH = 0.25


@dataclass(frozen=True, slots=True)
class Position:
    """Where a camera hangs, seen from the person it looks at.

    Attributes:
        height: metres above the ground.
        azimuth: direction from the person to the camera, radians from the x axis.
        near: least horizontal distance to the person, metres.
        far: greatest horizontal distance, metres.
        focal: pixels per radian in the middle of a frame 1280 pixels wide.
    """

    height: float
    azimuth: float
    near: float
    far: float
    focal: float

    @property
    def field(self) -> float:
        """Horizontal field of view of a frame, radians."""
        return 2.0 * math.atan(FRAME_WIDTH / 2.0 / self.focal)


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """How a camera turns light into a picture.

    Attributes:
        exposure: factor on light; 1 shows a grey of 0.2 at full light as a middle grey.
        white_balance: (3,) float32, factors on red, green, blue.
        mixing: (3, 3) float32, what each channel takes from each; rows add up to 1.
        gamma: exponent of the display; smaller is darker.
        contrast: factor around middle grey.
        levels: how far tones are stretched from black to white, 0..1.
        saturation: factor on colour.
        lift: level of black, shares of white.
        vignetting: loss of light in the frame's corners, 0..1.
        blur: standard deviation of the lens blur, sensor pixels.
        motion: length of the motion blur, sensor pixels.
        shot_noise: standard deviation at white, shares of white.
        read_noise: standard deviation at black, shares of white.
        chroma_noise: standard deviation of coloured blotches, shares of white.
        quality: JPEG quality, 1..95.
        resolution: sensor pixels that a person's height covers.
        sharpening: strength of the halo at edges, 0 is none.
    """

    exposure: float
    white_balance: Float32s
    mixing: Float32s
    gamma: float
    contrast: float
    levels: float
    saturation: float
    lift: float
    vignetting: float
    blur: float
    motion: float
    shot_noise: float
    read_noise: float
    chroma_noise: float
    quality: int
    resolution: float
    sharpening: float


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """One camera.

    Attributes:
        index: its number.
        place: where it hangs.
        light: its usual light.
        film: its usual picture quality.
        indoors: hangs in a station, a mall or a corridor.
        street: seed of what it sees around the people.
    """

    index: int
    place: Position
    light: Light
    film: Film
    indoors: bool
    street: int


def draw_camera(rng: np.random.Generator, knobs: Knobs, index: int) -> Camera:
    """Draw one camera of a site.

    Args:
        rng: source of randomness; the camera depends on nothing else.
        knobs: how different cameras are.
        index: number of the camera; spreads heights evenly over the cameras.

    Returns:
        The camera.
    """
    indoors = bool(rng.random() < knobs.scene.indoors)
    place = _draw_position(rng, knobs.scene, index, indoors=indoors)
    return Camera(
        index=index,
        place=place,
        light=draw_light(rng, indoors=indoors),
        film=_draw_film(rng, knobs.picture, place),
        indoors=indoors,
        street=int(rng.integers(2**31)),
    )


def vary_film(
    film: Film, rng: np.random.Generator, knobs: PictureKnobs, *, nearness: float = 1.0
) -> Film:
    """Draw the exposure, blur and compression of one picture.

    Args:
        film: the camera's usual film.
        rng: source of randomness.
        knobs: how much pictures differ.
        nearness: usual distance to the person divided by the picture's; scales the resolution.

    Returns:
        The film of the picture.
    """
    balance = np.exp(knobs.colour * rng.normal(0.0, 0.025, 3))
    quality = film.quality + knobs.compression * rng.normal(0.0, 5.0)
    return dataclasses.replace(
        film,
        exposure=film.exposure * math.exp(knobs.exposure * rng.normal(0.0, 0.2)),
        white_balance=(film.white_balance * balance).astype(np.float32),
        contrast=film.contrast * math.exp(knobs.exposure * rng.normal(0.0, 0.05)),
        lift=max(0.0, film.lift + knobs.exposure * rng.normal(0.0, 0.01)),
        blur=film.blur * math.exp(rng.normal(0.0, 0.25)),
        motion=film.motion * rng.exponential(1.0),
        quality=int(np.clip(quality, 15, 95)),
        resolution=max(24.0, film.resolution * nearness),
    )


def _draw_position(
    rng: np.random.Generator, knobs: SceneKnobs, index: int, *, indoors: bool
) -> Position:
    """Heights follow the golden ratio, so that a few cameras already cover the range."""
    spread = math.modf(index * GOLDEN + rng.normal(0.0, 0.05) + 1.0)[0]
    # Most cameras hang low; indoors a ceiling limits them.
    height = knobs.height_low + (knobs.height_high - knobs.height_low) * spread**1.5
    height = min(height, max(knobs.height_low, 4.0)) if indoors else height
    # Straight from above, nobody is recognised.
    least = min(max(knobs.near, 1.1 * height), knobs.far)
    near = least + (knobs.far - least) * rng.uniform(0.0, 0.35)
    far = near + (knobs.far - near) * rng.uniform(0.35, 1.0)
    middle = math.sqrt(near * far)
    return Position(
        height=float(height),
        azimuth=float(rng.uniform(-LARGEST_AZIMUTH, LARGEST_AZIMUTH)),
        near=float(near),
        far=float(far),
        # A longer lens where people are far away, as who hangs cameras wants people large enough.
        focal=float(np.clip(105.0 * middle * math.exp(rng.normal(0.0, 0.25)), 500.0, 4000.0)),
    )


def _draw_film(rng: np.random.Generator, knobs: PictureKnobs, place: Position) -> Film:
    colour, exposure = knobs.colour, knobs.exposure
    # Cheap cameras smear and compress and make noise together.
    poor = rng.random() ** 1.3
    pixels = place.focal * PERSON / math.sqrt(place.near * place.far)
    loss = math.exp(-knobs.low_resolution * abs(rng.normal(0.0, 0.45)))
    washed = rng.random() < 0.2
    return Film(
        exposure=math.exp(exposure * rng.normal(0.05, 0.28)),
        white_balance=_draw_white_balance(rng, colour),
        mixing=_draw_mixing(rng, colour),
        gamma=2.2 * math.exp(colour * rng.normal(0.0, 0.12)),
        contrast=math.exp(colour * (rng.normal(0.06, 0.13) - 0.2 * washed)),
        levels=min(1.0, knobs.levels * float(rng.uniform(0.4, 1.3))),
        saturation=math.exp(colour * (rng.normal(0.05, 0.24) - 0.3 * washed)),
        lift=exposure * (0.1 * washed * rng.random() + 0.03 * rng.random()),
        vignetting=float(rng.uniform(0.0, 0.35)),
        blur=knobs.blur * (0.2 + 0.75 * poor * rng.random()),
        motion=knobs.motion * float(rng.uniform(0.2, 1.5)),
        shot_noise=knobs.noise * (0.004 + 0.014 * poor * rng.random()),
        read_noise=knobs.noise * (0.002 + 0.006 * poor * rng.random()),
        chroma_noise=knobs.noise * 0.01 * poor * float(rng.random()),
        quality=int(np.clip(95 - knobs.compression * (4 + 48 * poor * rng.random()), 15, 95)),
        resolution=float(np.clip(pixels * loss, 36.0, 500.0)),
        sharpening=float(rng.uniform(0.0, 1.0) * (rng.random() < 0.75)),
    )


def _draw_white_balance(rng: np.random.Generator, strength: float) -> Float32s:
    """From blue to amber mostly, from green to magenta a little."""
    amber = rng.normal(0.0, 0.11) * np.array([1.0, 0.1, -1.1])
    green = rng.normal(0.0, 0.05) * np.array([-0.5, 1.0, -0.5])
    return np.asarray(np.exp(strength * (amber + green)), np.float32)


def _draw_mixing(rng: np.random.Generator, strength: float) -> Float32s:
    """Two makers' filters let different colours through: greens and reds shift."""
    mixing = np.eye(3) + strength * rng.normal(0.0, 0.05, (3, 3))
    return np.asarray(mixing / mixing.sum(axis=1, keepdims=True), np.float32)
