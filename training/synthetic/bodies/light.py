"""The light on a street: sun, clouds, evenings, lamps; and how it changes between pictures."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from training.synthetic.bodies.knobs import SceneKnobs

Float32s = NDArray[np.float32]

# Cameras lighten nights up, though not to daylight.
NIGHT_LEVEL = 0.5


class LightKind(StrEnum):
    """What the light comes from."""

    SUNNY = "sunny"
    OVERCAST = "overcast"
    EVENING = "evening"
    NIGHT = "night"
    INDOOR = "indoor"


OUTDOOR_KINDS = (LightKind.SUNNY, LightKind.OVERCAST, LightKind.EVENING, LightKind.NIGHT)
OUTDOOR_CHANCES = (0.42, 0.38, 0.12, 0.08)
# Elevation of the sun (or of the lamp) in radians, its share of all light on a horizontal surface,
# the softness of its shadows in radians.
LIGHT_RANGES = {
    LightKind.SUNNY: ((0.5, 1.15), (0.55, 0.8), (0.01, 0.05)),
    LightKind.OVERCAST: ((0.7, 1.3), (0.1, 0.35), (0.35, 0.7)),
    LightKind.EVENING: ((0.15, 0.4), (0.3, 0.55), (0.02, 0.12)),
    LightKind.NIGHT: ((0.6, 1.2), (0.55, 0.8), (0.05, 0.2)),
    LightKind.INDOOR: ((0.9, 1.45), (0.3, 0.6), (0.25, 0.6)),
}
SUN_COLOURS = {
    LightKind.SUNNY: (1.06, 1.0, 0.88),
    LightKind.OVERCAST: (1.0, 1.0, 1.0),
    LightKind.EVENING: (1.3, 0.95, 0.58),
    LightKind.NIGHT: (1.3, 0.98, 0.6),
    LightKind.INDOOR: (1.06, 1.0, 0.86),
}
SKY_COLOURS = {
    LightKind.SUNNY: (0.82, 0.97, 1.25),
    LightKind.OVERCAST: (0.95, 1.0, 1.07),
    LightKind.EVENING: (0.9, 0.95, 1.2),
    LightKind.NIGHT: (0.9, 0.97, 1.15),
    LightKind.INDOOR: (1.03, 1.0, 0.92),
}


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Light on the street.

    Sun and sky together give a horizontal surface about 1, at night about half.

    Attributes:
        kind: what it comes from.
        sun: (3,) float32, unit direction towards the sun or the lamps.
        sun_colour: (3,) float32, irradiance of a surface that faces the sun.
        sky_colour: (3,) float32, irradiance from the whole sky or ceiling.
        ground_colour: (3,) float32, what an average ground sends back up, for a white surface that
            looks down.
        softness: angular radius of the sun, radians; shadows blur with it.
    """

    kind: LightKind
    sun: Float32s
    sun_colour: Float32s
    sky_colour: Float32s
    ground_colour: Float32s
    softness: float


def draw_light(rng: np.random.Generator, *, indoors: bool) -> Light:
    """Draw the usual light of a camera.

    Args:
        rng: source of randomness.
        indoors: lamps under a ceiling instead of the sky.

    Returns:
        The light.
    """
    kind = (
        LightKind.INDOOR if indoors else OUTDOOR_KINDS[int(rng.choice(4, p=list(OUTDOOR_CHANCES)))]
    )
    elevations, shares, softness = LIGHT_RANGES[kind]
    elevation, share = rng.uniform(*elevations), rng.uniform(*shares)
    tint = np.exp(rng.normal(0.0, 0.06) * np.array([1.0, 0.0, -1.0]))
    level = NIGHT_LEVEL if kind == LightKind.NIGHT else 1.0
    sun = np.array(SUN_COLOURS[kind]) * tint * (level * share / max(math.sin(elevation), 0.35))
    sky = np.array(SKY_COLOURS[kind]) * tint * (level * (1.0 - share))
    ground = (sun * math.sin(elevation) + sky) * np.array([0.24, 0.22, 0.2])
    return Light(
        kind=kind,
        sun=_direction(rng.uniform(0.0, 2.0 * math.pi), elevation),
        sun_colour=sun.astype(np.float32),
        sky_colour=sky.astype(np.float32),
        ground_colour=ground.astype(np.float32),
        softness=float(rng.uniform(*softness)),
    )


def vary_light(light: Light, rng: np.random.Generator, knobs: SceneKnobs) -> Light:
    """Draw the light of one picture: another time of day, other clouds.

    Args:
        light: the camera's usual light.
        rng: source of randomness.
        knobs: ``daylight`` scales the change; 0 returns the usual light.

    Returns:
        The light, of the same kind.
    """
    strength = knobs.daylight * (0.25 if light.kind in {LightKind.INDOOR, LightKind.NIGHT} else 1.0)
    turn = strength * rng.normal(0.0, 0.7)
    elevation = math.asin(float(np.clip(light.sun[2], -1.0, 1.0)))
    elevation = float(np.clip(elevation + strength * rng.normal(0.0, 0.16), 0.14, 1.5))
    azimuth = math.atan2(light.sun[1], light.sun[0]) + turn
    level = math.exp(strength * rng.normal(0.0, 0.16))
    cloud = math.exp(-strength * abs(rng.normal(0.0, 0.5)))
    warmth = np.exp(strength * rng.normal(0.0, 0.05) * np.array([1.0, 0.0, -1.0]))
    sun = light.sun_colour * (level * cloud) * warmth
    lost = float((light.sun_colour * light.sun[2]).mean()) * (1.0 - cloud)
    return dataclasses.replace(
        light,
        sun=_direction(azimuth, elevation),
        sun_colour=sun.astype(np.float32),
        sky_colour=(light.sky_colour * level * warmth + 0.7 * lost).astype(np.float32),
        ground_colour=(light.ground_colour * level * warmth).astype(np.float32),
        softness=float(np.clip(light.softness + 0.4 * (1.0 - cloud), 0.005, 0.8)),
    )


def _direction(azimuth: float, elevation: float) -> Float32s:
    flat = math.cos(elevation)
    return np.asarray(
        [flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)], np.float32
    )
