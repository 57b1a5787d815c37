"""One frame of one camera: the people who are there at its moment, their light and their boxes.

A camera that hangs still sees the same street in every frame. The empty street is therefore seen
once, carefully; each frame adds what people change of it: where they are seen, and how much darker
they make the ground and the walls, as the difference between a look with them and one without.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.camera import Camera, Film, LightKind
from training.synthetic.bodies.figure import build_figure
from training.synthetic.bodies.film import develop
from training.synthetic.bodies.rays import NOTHING, Placed, RayMesh, Shadows, build_mesh, cast
from training.synthetic.bodies.shading import Standing, World, look
from training.synthetic.bodies.street import Street
from training.synthetic.scenes.frame import FrameView, PixelBox, frame_view
from training.synthetic.scenes.motion import (
    Moving,
    pixels_per_second,
    shutter_seconds,
    smear_people,
)
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.plan import Stream
from training.synthetic.scenes.region import Coarse, Extent, changed_parts, look_coarsely
from training.synthetic.scenes.street_file import StreetFile
from training.synthetic.scenes.truth import Sighting
from training.synthetic.scenes.walks import Walk

Float32s = NDArray[np.float32]
Pixels = NDArray[np.uint8]

BORDER = 3  # pixels
STREET_LOOKS = 4  # looks that are averaged, because each samples soft shadows anew
PERSON = 1.7


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What a camera sees in every frame.

    Attributes:
        camera: the camera.
        view: where it is and looks.
        street: what stands around.
        mesh: the street's, for rays.
        film: how it turns light into pixels.
        empty: (H, W, 3) float32, the light of the empty street.
        coarse: where the empty street lies.
    """

    camera: Camera
    view: FrameView
    street: Street
    mesh: RayMesh
    film: Film
    empty: Float32s
    coarse: Coarse


@dataclass(frozen=True, slots=True, eq=False)
class Filmed:
    """One frame.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        who: (H, W) int32, the visit of the walk that is seen in each pixel, or -1.
        sightings: everybody whose box touches the frame.
    """

    pixels: Pixels
    who: NDArray[np.int32]
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Walker:
    """Somebody at one moment."""

    walk: Walk
    standing: Standing
    extent: Extent


@lru_cache(maxsize=4)
def stage_of(options: SceneOptions, index: int, empty: StreetFile | None = None) -> Stage:
    """Prepare a camera; kept in memory for its next frame.

    Args:
        options: of the scenes.
        index: of the camera, from 0.
        empty: where the light of the empty street is kept, if another process may have seen it.

    Returns:
        The stage.
    """
    site, view = options.site, frame_view(options.site, index, options.size)
    street, mesh = site.street(index)
    camera = site.camera(index)
    light = empty.read() if empty else None
    if light is None:
        light = _see_empty(options, index, view, World(street, mesh, ()))
        if empty:
            empty.write(light)
    # A fixed camera does not smear the street, only whoever moves.
    film = dataclasses.replace(camera.film, motion=0.0)
    return Stage(camera, view, street, mesh, film, light, look_coarsely(view, mesh))


def _see_empty(options: SceneOptions, index: int, view: FrameView, world: World) -> Float32s:
    rays, camera = view.rays(), options.site.camera(index)
    light = np.zeros((*options.size, 3), dtype=np.float32)
    for seed in range(STREET_LOOKS):
        seen = look(
            world, view.origin, rays, camera.light, seed, shadows=options.knobs.scene.shadows
        )
        light += seen.light / np.float32(STREET_LOOKS)
    return light


def film_frame(options: SceneOptions, walks: tuple[Walk, ...], stage: Stage, frame: int) -> Filmed:
    """Film one frame.

    Args:
        options: of the scenes.
        walks: of the camera.
        stage: of the camera.
        frame: its number, from 1.

    Returns:
        The frame and its truth; nothing but the arguments decides on them.
    """
    index, second = stage.camera.index, options.second_of(frame)
    rng = options.site.stream(Stream.FRAME, index, frame)
    walkers = _walkers(options, walks, stage, second)
    light, who = _see(options, stage, walkers, int(rng.integers(2**30)))
    light = smear_people(light, stage.empty, who, _moving(stage, walkers, second))
    light = light * _daylight(options, stage.camera, second)
    place = stage.camera.place
    usual = stage.view.focal * PERSON / math.sqrt(place.near * place.far)
    pixels = develop(light, stage.film, rng, options.knobs.picture, person=usual)
    sightings = tuple(
        sighting
        for number, walker in enumerate(walkers)
        if (sighting := _sighting(stage, walker, who == number, frame))
    )
    visits = np.array([walker.walk.visit for walker in walkers] + [NOTHING], dtype=np.int32)
    return Filmed(pixels, visits[who], sightings)


def _walkers(
    options: SceneOptions, walks: tuple[Walk, ...], stage: Stage, second: float
) -> list[_Walker]:
    site, walkers = options.site, []
    for walk in walks:
        moment = walk.at(second)
        if moment is None:
            continue
        x, y, yaw, pose = moment
        figure = build_figure(site.dressed(site.person(walk.identity)), pose, site.model)
        mesh = build_mesh(figure.vertices, figure.faces)
        standing = Standing(figure, mesh, x, y, yaw)
        reach = np.linalg.norm(figure.vertices[:, :2], axis=1).max()
        box = stage.view.box_of(standing.vertices)
        extent = Extent(x, y, float(reach), float(figure.vertices[:, 2].max()), box)
        walkers.append(_Walker(walk, standing, extent))
    return walkers


def _see(
    options: SceneOptions, stage: Stage, walkers: list[_Walker], seed: int
) -> tuple[Float32s, NDArray[np.int32]]:
    """The light of a frame, and the index of the walker in each pixel or -1."""
    light, who = stage.empty.copy(), np.full(options.size, NOTHING, dtype=np.int32)
    extents = [walker.extent for walker in walkers]
    empty = World(stage.street, stage.mesh, ())
    full = World(stage.street, stage.mesh, tuple(walker.standing for walker in walkers))
    shadows = options.knobs.scene.shadows
    for left, top, right, bottom in changed_parts(
        extents, stage.coarse, stage.camera.light, options.size
    ):
        # A border, because shade is smoothed over neighbouring pixels.
        rays = stage.view.rays((left - BORDER, top - BORDER, right + BORDER, bottom + BORDER))
        # Equal seeds: the street's own sampled shadows cancel out.
        seen, without = (
            look(world, stage.view.origin, rays, stage.camera.light, seed, shadows=shadows)
            for world in (full, empty)
        )
        part = (slice(top, bottom), slice(left, right))
        inner = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        here = seen.who[inner]
        shaded = stage.empty[part] + seen.light[inner] - without.light[inner]
        light[part] = np.where((here >= 0)[:, :, None], seen.light[inner], np.maximum(shaded, 0.0))
        who[part] = here
    return light, who


def _moving(stage: Stage, walkers: list[_Walker], second: float) -> list[Moving]:
    shutter = shutter_seconds(stage.camera.film)
    return [
        Moving(index, _distance(stage, walker), across * shutter, down * shutter)
        for index, walker in enumerate(walkers)
        for across, down in [pixels_per_second(stage.view, walker.walk, second)]
    ]


def _distance(stage: Stage, walker: _Walker) -> float:
    """Metres on the ground."""
    x, y, _ = stage.view.origin
    return math.hypot(walker.extent.x - x, walker.extent.y - y)


def _daylight(options: SceneOptions, camera: Camera, second: float) -> Float32s:
    """(3,) factor on all light: clouds come and go within minutes."""
    rng = options.site.stream(Stream.LIGHT, camera.index)
    steady = camera.light.kind in {LightKind.INDOOR, LightKind.NIGHT}
    strength = options.knobs.scene.daylight * (0.25 if steady else 1.0)
    periods, phases = rng.uniform(40.0, 150.0, 2), rng.uniform(0.0, 2 * math.pi, 2)
    level, warmth = strength * np.sin(2 * math.pi * second / periods + phases)
    factor = np.exp(0.12 * level + 0.03 * warmth * np.array([1.0, 0.0, -1.0]))
    return np.asarray(factor, np.float32)


def _sighting(
    stage: Stage, walker: _Walker, here: NDArray[np.bool_], frame: int
) -> Sighting | None:
    """The truth about one person in a frame, if the box touches it."""
    whole = walker.extent.box
    clipped = whole.clipped(stage.view.size) if whole else None
    if whole is None or clipped is None:
        return None
    alone = silhouette(stage.view, walker.standing, whole)
    return Sighting(
        frame=frame,
        visit=walker.walk.visit,
        identity=walker.walk.identity,
        whole=whole,
        clipped=clipped,
        visibility=min(1.0, int(here.sum()) / alone) if alone else 0.0,
        distance=_distance(stage, walker),
    )


def silhouette(view: FrameView, standing: Standing, box: PixelBox) -> int:
    """Count the pixels that a person would cover alone, in a frame without borders.

    Args:
        view: of the camera.
        standing: the person.
        box: where the person appears.

    Returns:
        Number of pixels.
    """
    around = math.floor(box.left), math.floor(box.top), math.ceil(box.right), math.ceil(box.bottom)
    rays = view.rays(around).reshape(-1, 3)
    solids = [Placed(standing.mesh, standing.x, standing.y, standing.yaw)]
    hits = cast(solids, view.origin, rays, Shadows((0.0, 0.0, 1.0), 0.0, 0), 0)
    return int((hits.solid >= 0).sum())
