"""From what rays hit to the light that they bring back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from training.synthetic.bodies.camera import Light
from training.synthetic.bodies.chart import Chart, Column
from training.synthetic.bodies.figure import Figure
from training.synthetic.bodies.paint import paint
from training.synthetic.bodies.parts import parts_of
from training.synthetic.bodies.rays import Hits, Placed, RayMesh, Shadows, cast
from training.synthetic.bodies.solids import placed
from training.synthetic.bodies.street import Street

Float32s = NDArray[np.float32]

SHADE_SMOOTHING = 0.9  # pixels; each point sees few rays, whose noise would look like pepper
DARKEST_CREASE = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A figure somewhere in the world.

    Attributes:
        figure: who, at one moment.
        mesh: its mesh for rays.
        x: metres.
        y: metres.
        yaw: turn to the left from facing -y, radians.
    """

    figure: Figure
    mesh: RayMesh
    x: float
    y: float
    yaw: float

    @property
    def vertices(self) -> NDArray[np.float64]:
        """(V, 3) where in the world the figure's vertices are, metres."""
        return placed(self.figure.vertices, self.x, self.y, self.yaw)


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A plain block that somebody sits on.

    Attributes:
        vertices: (V, 3) float32, metres, in the world.
        mesh: its mesh for rays.
        colour: (3,) float32 linear reflectance.
    """

    vertices: Float32s
    mesh: RayMesh
    colour: Float32s

    def paint(self, faces: NDArray[np.int32], points: Float32s) -> Float32s:
        """Colour points of the seat, all alike.

        Args:
            faces: (N,) int32.
            points: (N, 3) float32, metres.

        Returns:
            (N, 3) float32 linear reflectance.
        """
        del faces
        return np.broadcast_to(self.colour, points.shape)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What a camera may see.

    Attributes:
        street: ground, houses and things.
        street_mesh: its mesh for rays.
        people: the figures in it.
        seats: what they sit on.
    """

    street: Street
    street_mesh: RayMesh
    people: tuple[Standing, ...]
    seats: tuple[Seat, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture before any lens.

    Attributes:
        light: (H, W, 3) float32, linear.
        who: (H, W) int32 index into the world's people, or -1.
    """

    light: Float32s
    who: NDArray[np.int32]


def look(
    world: World,
    origin: tuple[float, float, float],
    directions: Float32s,
    light: Light,
    seed: int,
    *,
    shadows: float = 1.0,
) -> Seen:
    """See the world through a grid of rays.

    Args:
        world: what there is.
        origin: where the camera is, metres.
        directions: (H, W, 3) float32, unit length.
        light: of this picture.
        seed: of sampled shadows.
        shadows: strength of cast shadows and of shade in creases, 0..1.

    Returns:
        Light and figures, per ray.
    """
    height, width, _ = directions.shape
    rays = directions.reshape(-1, 3)
    solids = [Placed(world.street_mesh)]
    solids += [Placed(each.mesh, each.x, each.y, each.yaw) for each in world.people]
    solids += [Placed(seat.mesh) for seat in world.seats]
    sun = tuple(map(float, light.sun))
    hits = cast(solids, origin, rays, Shadows((sun[0], sun[1], sun[2]), light.softness), seed)
    hits = _smooth_shade(hits, (height, width), shadows)
    picture = world.street.sky(rays).astype(np.float32) * light.sky_colour
    people = len(world.people)
    pixel = float(np.linalg.norm(directions[-1, -1] - directions[0, 0])) / math.hypot(height, width)
    _shade_flat(picture, _street_solid(world.street, hits, pixel), hits, rays, light)
    for index, standing in enumerate(world.people, start=1):
        _shade_person(picture, standing, hits, index, rays, light)
    for index, seat in enumerate(world.seats, start=people + 1):
        flat = _Flat(index, seat.vertices, seat.mesh.faces, seat.paint)
        _shade_flat(picture, flat, hits, rays, light)
    somebody = (hits.solid > 0) & (hits.solid <= people)
    who = np.where(somebody, hits.solid - 1, -1).astype(np.int32)
    return Seen(picture.reshape(height, width, 3), who.reshape(height, width))


def _smooth_shade(hits: Hits, shape: tuple[int, int], strength: float) -> Hits:
    """Blur what few rays sampled, within people and within the street, never across."""
    lit, sky = hits.lit.copy(), hits.open.copy()
    for inside in (hits.solid > 0, hits.solid <= 0):
        mask = inside.reshape(shape).astype(np.float32)
        weight = np.maximum(gaussian_filter(mask, SHADE_SMOOTHING), 1e-3)
        for values in (lit, sky):
            smooth = gaussian_filter(values.reshape(shape) * mask, SHADE_SMOOTHING) / weight
            values[inside] = smooth.ravel()[inside]
    lit, sky = 1.0 - strength * (1.0 - lit), 1.0 - strength * (1.0 - sky)
    return Hits(hits.solid, hits.face, hits.corners, hits.distance, lit, sky)


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """A solid whose faces are flat, and how it is coloured."""

    index: int
    vertices: Float32s
    faces: NDArray[np.int32]
    albedo: Callable[[NDArray[np.int32], Float32s], Float32s]


def _street_solid(street: Street, hits: Hits, pixel: float) -> _Flat:
    """The street as a solid; its textures are averaged over what a pixel covers."""
    footprint = hits.distance[hits.solid == 0] * float(pixel)

    def albedo(faces: NDArray[np.int32], points: Float32s) -> Float32s:
        return street.albedo(faces, points, footprint)

    return _Flat(0, street.vertices, street.faces, albedo)


def _shade_flat(picture: Float32s, solid: _Flat, hits: Hits, rays: Float32s, light: Light) -> None:
    here = hits.solid == solid.index
    if not here.any():
        return
    faces = hits.face[here]
    corners = solid.vertices[solid.faces[faces]]
    normals = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    normals[(normals * rays[here]).sum(1) > 0.0] *= -1.0
    points = np.einsum("nk,nkc->nc", hits.corners[here], corners)
    albedo = solid.albedo(faces, points)
    picture[here] = albedo * _irradiance(normals, hits.lit[here], hits.open[here], light)


def _shade_person(
    picture: Float32s,
    standing: Standing,
    hits: Hits,
    index: int,
    rays: Float32s,
    light: Light,
) -> None:
    here = hits.solid == index
    if not here.any():
        return
    figure = standing.figure
    triangles, corners = figure.faces[hits.face[here]], hits.corners[here]
    values = np.einsum("nk,nkc->nc", corners, figure.chart.values[triangles])
    values[:, Column.PIECE] = figure.chart.values[triangles[:, 0], Column.PIECE]
    chart = Chart(values.astype(np.float32))
    surface = paint(figure.person, chart, parts_of(chart, figure.person))
    normals = np.einsum("nk,nkc->nc", corners, figure.normals[triangles]) + surface.bump
    normals = _turned(_unit(normals), standing.yaw)
    facing = (normals * rays[here]).sum(1) > 0.15
    normals[facing] *= -1.0
    lit = hits.lit[here]
    colour = surface.albedo * _irradiance(normals, lit, hits.open[here], light)
    half = _unit(light.sun - rays[here])
    shine = np.maximum((normals * half).sum(1), 0.0) ** 18 * surface.gloss * lit
    picture[here] = colour + 0.08 * shine[:, None] * light.sun_colour


def _irradiance(normals: Float32s, lit: Float32s, sky: Float32s, light: Light) -> Float32s:
    """(N, 3) light that falls on points: sky from above, ground from below, sun unless hidden."""
    cover = (DARKEST_CREASE + (1.0 - DARKEST_CREASE) * sky)[:, None]
    up = 0.5 + 0.5 * normals[:, 2:3]
    facing = np.maximum(normals @ light.sun, 0.0)[:, None] * lit[:, None]
    around = light.sky_colour * (0.3 + 0.7 * up) + light.ground_colour * (1.0 - up)
    return np.asarray(cover * around + facing * light.sun_colour, dtype=np.float32)


def _turned(vectors: Float32s, yaw: float) -> Float32s:
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    return vectors @ turn.T


def _unit(vectors: Float32s) -> Float32s:
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / length, dtype=np.float32)
