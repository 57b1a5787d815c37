"""Where exactly a camera hangs, and where people can stand so that it sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.camera import Camera
from training.synthetic.bodies.rays import Placed, RayMesh, Shadows, cast
from training.synthetic.bodies.street import Street

Float32s = NDArray[np.float32]

SPOTS = 240
ENOUGH = 50
TURNS = (0.0, -0.2, 0.2, -0.45, 0.45, -0.75, 0.75)  # radians from the camera's own direction
SHARES = (1.0, 0.75, 0.55, 0.4)  # of the camera's usual distance
CLEARANCE = 0.35  # metres between the middle of a person and a thing
EDGE = 0.42  # share of the field of view, on either side of its middle, where people are
BODY = tuple((aside, height) for height in (0.15, 0.6, 1.1, 1.6) for aside in (-0.2, 0.2))


@dataclass(frozen=True, slots=True, eq=False)
class Vantage:
    """A camera's place and the spots that it sees.

    Attributes:
        x: of the camera, metres.
        y: of the camera, metres.
        clear: (K, 2) float32 spots where a person is seen whole, metres.
        partly: (M, 2) float32 spots where a thing hides a part of the person.
    """

    x: float
    y: float
    clear: Float32s
    partly: Float32s


def find_vantage(
    camera: Camera, street: Street, mesh: RayMesh, rng: np.random.Generator
) -> Vantage:
    """Hang a camera where it sees enough of the ground on which people walk.

    Args:
        camera: its height, direction and distance.
        street: what may stand in the way.
        mesh: the street's, for rays.
        rng: source of the spots.

    Returns:
        The first of several places that sees enough spots, or else the one that sees most.
    """
    spots = _free_spots(street, rng)
    usual = math.sqrt(camera.place.near * camera.place.far)
    best: Vantage | None = None
    for share in SHARES:
        for turn in TURNS:
            angle, distance = camera.place.azimuth + turn, share * usual
            place = distance * math.cos(angle), distance * math.sin(angle)
            found = _look_from(place, camera, spots, mesh)
            if len(found.clear) >= ENOUGH:
                return found
            if best is None or len(found.clear) > len(best.clear):
                best = found
    assert best is not None
    return best


def _free_spots(street: Street, rng: np.random.Generator) -> Float32s:
    """(N, 2) points of the open area on which nothing stands."""
    radius = (street.open_radius - 0.4) * np.sqrt(rng.random(SPOTS))
    angle = rng.uniform(0.0, 2 * math.pi, SPOTS)
    spots = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    free = [
        not any(place.blocks(spot, spot, CLEARANCE) for place in street.places) for spot in spots
    ]
    return spots[free].astype(np.float32)


def _look_from(
    place: tuple[float, float], camera: Camera, spots: Float32s, mesh: RayMesh
) -> Vantage:
    offset = spots - np.array(place, dtype=np.float32)
    distance = np.linalg.norm(offset, axis=1)
    bearing = np.arctan2(offset[:, 1], offset[:, 0]) - math.atan2(-place[1], -place[0])
    aside = np.abs((bearing + math.pi) % (2 * math.pi) - math.pi)
    near, far = 0.7 * camera.place.near, 1.1 * camera.place.far
    seen = (distance > near) & (distance < far) & (aside < EDGE * camera.place.field)
    spots, offset, distance = spots[seen], offset[seen], distance[seen]
    if not len(spots):
        return Vantage(*place, spots, spots)
    share = _seen_share((*place, camera.place.height), spots, offset / distance[:, None], mesh)
    return Vantage(*place, spots[share == 1.0], spots[(share >= 0.4) & (share < 1.0)])


def _seen_share(
    origin: tuple[float, float, float], spots: Float32s, ahead: Float32s, mesh: RayMesh
) -> Float32s:
    """(N,) share of points of an upright body at each spot that no thing hides."""
    across = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    points = np.concatenate(
        [np.c_[spots + aside * across, np.full(len(spots), height)] for aside, height in BODY]
    )
    rays = points - np.array(origin)
    length = np.linalg.norm(rays, axis=1)
    directions = (rays / length[:, None]).astype(np.float32)
    hits = cast([Placed(mesh)], origin, directions, Shadows((0.0, 0.0, 1.0), 0.0, 0), 0)
    seen = hits.distance > length - 0.25
    return np.asarray(seen.reshape(len(BODY), len(spots)).mean(0), dtype=np.float32)
