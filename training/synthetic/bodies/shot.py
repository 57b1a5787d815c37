"""One crop: a person on a site, seen by one of its cameras, as a detector would cut it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.camera import Camera, vary_film, vary_light
from training.synthetic.bodies.figure import build_figure
from training.synthetic.bodies.film import develop
from training.synthetic.bodies.knobs import PictureKnobs
from training.synthetic.bodies.person import Person
from training.synthetic.bodies.pose import draw_pose
from training.synthetic.bodies.rays import build_mesh
from training.synthetic.bodies.shading import Seat, Standing, World, look
from training.synthetic.bodies.site import STRANGERS, Site
from training.synthetic.bodies.solids import placed, superellipsoid
from training.synthetic.bodies.vantage import Vantage
from training.synthetic.bodies.view import Box, View
from training.synthetic.bodies.wardrobe import shifted

PASSERS_BY = 0.65  # mean number of other people near somebody
TRIES = 4
NARROWEST = 0.55  # least width of a box, shares of the crop's own shape
LEAST_VISIBLE = 0.08  # share of the crop; less of a person is nobody to learn from


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a person stands, and from where it is seen.

    Attributes:
        x: metres.
        y: metres.
        yaw: turn to the left from facing -y, radians.
        view_x: of the camera, metres.
        view_y: of the camera, metres.
        distance: from the camera, on the ground, metres.
    """

    x: float
    y: float
    yaw: float
    view_x: float
    view_y: float
    distance: float


def shoot(
    person: Person | None,
    index: int,
    site: Site,
    rng: np.random.Generator,
    size: tuple[int, int],
    miss: float = 0.0,
) -> NDArray[np.uint8]:
    """Take one crop.

    Args:
        person: who; None takes a detector's mistake, an empty place.
        index: of the camera.
        site: where.
        rng: random stream of this crop.
        size: (height, width) of the crop, pixels.
        miss: how far the box misses the person, in shares of its width.

    Returns:
        (height, width, 3) uint8, RGB.
    """
    for attempt in range(TRIES):
        crop, visible = _take(person, index, site, rng, size, miss)
        if person is None or miss or visible >= LEAST_VISIBLE or attempt == TRIES - 1:
            break
    return crop


def _take(
    person: Person | None,
    index: int,
    site: Site,
    rng: np.random.Generator,
    size: tuple[int, int],
    miss: float,
) -> tuple[NDArray[np.uint8], float]:
    """Take a crop; also tell which share of it shows the person."""
    camera, knobs = site.camera(index), site.knobs
    street, street_mesh = site.street(index)
    by_thing, by_person = rng.random(2) < 0.5 * knobs.scene.occlusion
    spot = _choose_spot(site.vantage(index), rng, hidden=bool(by_thing))
    view = _view(camera, spot, rng)
    wanted = _stand(person, spot, site, rng)
    others = _passers_by(spot, site, rng, in_front=bool(by_person))
    people = tuple(each for each in (wanted, *others) if each is not None)
    whole = view.box_of(_corners(wanted, spot))
    box = _detect(whole, size, rng, knobs.picture, miss)
    light = vary_light(camera.light, rng, knobs.scene)
    seats = tuple(_seat(each, rng) for each in people if each.figure.sits)
    seen = look(
        World(street, street_mesh, people, seats),
        (float(view.origin[0]), float(view.origin[1]), float(view.origin[2])),
        view.rays(box, size, knobs.supersampling),
        light,
        int(rng.integers(2**30)),
        shadows=knobs.scene.shadows,
    )
    usual = math.sqrt(camera.place.near * camera.place.far)
    film = vary_film(camera.film, rng, knobs.picture, nearness=usual / spot.distance)
    crop = develop(_shrink(seen.light, size), film, rng, knobs.picture)
    return crop, float(np.mean(seen.who == 0)) if wanted is not None else 0.0


def _choose_spot(vantage: Vantage, rng: np.random.Generator, *, hidden: bool) -> Spot:
    """A place in the camera's view; if hidden, and there is one, a thing stands before it."""
    spots = vantage.partly if hidden and len(vantage.partly) else vantage.clear
    spot = spots[int(rng.integers(len(spots)))] if len(spots) else np.zeros(2)
    x, y = map(float, spot + rng.uniform(-0.15, 0.15, 2))
    distance = math.hypot(vantage.x - x, vantage.y - y)
    return Spot(x, y, float(rng.uniform(0.0, 2 * math.pi)), vantage.x, vantage.y, distance)


def _view(camera: Camera, spot: Spot, rng: np.random.Generator) -> View:
    origin = np.array([spot.view_x, spot.view_y, camera.place.height])
    target = np.array([spot.x, spot.y, 0.85])
    return View.towards(origin, target, roll=float(rng.normal(0.0, 0.025)))


def _stand(
    person: Person | None, spot: Spot, site: Site, rng: np.random.Generator
) -> Standing | None:
    if person is None:
        return None
    person = shifted(person, rng, site.knobs.people.shift)
    pose = draw_pose(rng, person, site.knobs.people)
    figure = build_figure(site.dressed(person), pose, site.model)
    mesh = build_mesh(figure.vertices, figure.faces)
    return Standing(figure, mesh, spot.x, spot.y, spot.yaw)


def _passers_by(
    spot: Spot, site: Site, rng: np.random.Generator, *, in_front: bool
) -> list[Standing]:
    """Others, mostly behind or beside the person; one half in front of it to hide it."""
    count = min(4, int(rng.poisson(PASSERS_BY * site.knobs.scene.passers_by)))
    others = [
        _stranger_at(spot, -float(rng.uniform(0.5, 6.0)), 1.5, site, rng) for _ in range(count)
    ]
    if in_front:
        others.append(_stranger_at(spot, float(rng.uniform(0.5, 1.6)), 0.5, site, rng))
    return others


def _stranger_at(
    spot: Spot, ahead: float, aside: float, site: Site, rng: np.random.Generator
) -> Standing:
    """A stranger so many metres nearer to the camera, and up to so many to one side."""
    figure, mesh = site.stranger(int(rng.integers(STRANGERS)))
    towards = math.atan2(spot.view_y - spot.y, spot.view_x - spot.x)
    beside = float(rng.uniform(0.28, aside)) * float(rng.choice([-1.0, 1.0]))
    x = spot.x + ahead * math.cos(towards) - beside * math.sin(towards)
    y = spot.y + ahead * math.sin(towards) + beside * math.cos(towards)
    return Standing(figure, mesh, x, y, float(rng.uniform(0.0, 2 * math.pi)))


def _seat(standing: Standing, rng: np.random.Generator) -> Seat:
    """A bench or a block under somebody who sits."""
    hips, wide = standing.figure.hips, float(rng.uniform(0.25, 0.9))
    top = float(hips[2]) - 0.10
    centre = (0.0, float(hips[1]) + 0.02, top / 2)
    points, faces = superellipsoid(centre, (wide, 0.22, top / 2), 12.0, 16, 8)
    placed_points = placed(points, standing.x, standing.y, standing.yaw).astype(np.float32)
    colour = rng.uniform(0.05, 0.5) * rng.uniform(0.7, 1.0, 3)
    mesh = build_mesh(placed_points, faces)
    return Seat(placed_points, mesh, colour.astype(np.float32))


def _corners(wanted: Standing | None, spot: Spot) -> NDArray[np.float64]:
    """(N, 3) points whose box is the person's; for nobody those of an upright block."""
    if wanted is None:
        block = np.array([(x, y, z) for x in (-0.3, 0.3) for y in (-0.3, 0.3) for z in (0.0, 1.7)])
        return placed(block, spot.x, spot.y, 0.0)
    return wanted.vertices


def _detect(
    whole: Box, size: tuple[int, int], rng: np.random.Generator, knobs: PictureKnobs, miss: float
) -> Box:
    """The box that a detector would draw: a little too large or small, shifted, or cut off."""
    error = knobs.box
    height = whole.height * (1.04 + error * float(rng.uniform(-0.05, 0.10)))
    width = _box_width(whole, height * size[1] / size[0], rng, knobs)
    width = min(width, 1.6 * height)
    x = (whole.left + whole.right) / 2 + width * (error * float(rng.normal(0.0, 0.035)) + miss)
    y = (whole.bottom + whole.top) / 2 + height * error * float(rng.normal(0.0, 0.02))
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    cut = error * float(rng.random() < 0.10) * float(rng.uniform(0.08, 0.35))
    if rng.random() < 0.85:
        return Box(box.left, box.bottom + cut * height, box.right, box.top)
    return Box(box.left, box.bottom, box.right, box.top - 0.4 * cut * height)


def _box_width(whole: Box, usual: float, rng: np.random.Generator, knobs: PictureKnobs) -> float:
    """Between the crop's own shape and the person: some detectors keep a shape, some are tight."""
    kept = usual * (1.0 + knobs.box * float(rng.uniform(-0.12, 0.25)))
    person = whole.width * (1.06 + knobs.box * float(rng.uniform(-0.12, 0.16)))
    tight = max(person, NARROWEST * usual)
    narrowed = knobs.tightness * float(rng.random())
    return max(kept + narrowed * (tight - kept), 0.94 * person)


def _shrink(light: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Average the rays of each pixel."""
    height, width = size
    rows, columns = light.shape[0] // height, light.shape[1] // width
    mean = light.reshape(height, rows, width, columns, 3).mean((1, 3))
    return np.asarray(mean, dtype=np.float32)
