"""Draw one crop: a person, perhaps half hidden, in front of a camera's street, as a JPEG."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from training.synthetic.drawn.camera import Camera, expose, frame_person, see_backdrop
from training.synthetic.drawn.figure import paint, round_off
from training.synthetic.drawn.palette import CLOTH, pick
from training.synthetic.drawn.person import Person, draw_stranger
from training.synthetic.drawn.pose import draw_pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.synthetic.drawn.brush import View

FINE_HEIGHT = 512
ROUNDNESS = 0.55


class Obstacle(StrEnum):
    """What stands between a camera and a person."""

    NONE = "none"
    POST = "post"
    CAR = "car"
    PASSER_BY = "passer-by"


OBSTACLES = (
    (Obstacle.NONE, 8.0),
    (Obstacle.POST, 0.4),
    (Obstacle.CAR, 0.4),
    (Obstacle.PASSER_BY, 0.5),
)


def draw_crop(
    person: Person | None,
    camera: Camera,
    rng: np.random.Generator,
    size: tuple[int, int],
    shift: float = 0.0,
) -> bytes:
    """Draw one crop.

    Args:
        person: the person; None draws a detector's mistake, an empty street.
        camera: the camera.
        rng: random stream of this crop.
        size: (height, width), pixels.
        shift: how far the box misses the person, as a share of its width.

    Returns:
        The bytes of a JPEG file.
    """
    scene = see_backdrop(camera, rng, size)
    if person is not None:
        _add_person(scene, person, camera, rng, shift)
    match pick(rng, OBSTACLES):
        case Obstacle.POST:
            _add_post(scene, rng)
        case Obstacle.CAR:
            _add_car(scene, rng)
        case Obstacle.PASSER_BY:
            side = 1.0 if rng.random() < 0.5 else -1.0
            _add_person(
                scene, draw_stranger(rng), camera, rng, side * float(rng.uniform(0.42, 0.6))
            )
        case Obstacle.NONE:
            pass
    return expose(camera, scene, rng)


def _add_person(
    scene: NDArray[np.float32],
    person: Person,
    camera: Camera,
    rng: np.random.Generator,
    shift: float,
) -> None:
    """Paint a person into a scene, moved sideways by a share of its width."""
    height, width = scene.shape[:2]
    fineness = max(2, round(FINE_HEIGHT / height))
    pose = draw_pose(rng, camera.placement.path)
    fine = height * fineness, width * fineness
    view = frame_person(camera, person, pose, rng, fine, shift)
    _add_shadow(scene, view, fineness)
    figure = np.asarray(paint(person, pose, view, (height, width), fineness), dtype=np.float32)
    shaded = round_off(figure / 255.0, camera.sun, ROUNDNESS)
    scene *= 1.0 - shaded[..., 3:]
    scene += shaded[..., :3]


def _add_shadow(scene: NDArray[np.float32], view: View, fineness: int) -> None:
    """Darken the floor around the feet."""
    height, width = scene.shape[:2]
    x, y = view.centre / fineness, view.floor / fineness
    wide, high = 0.20 * view.scale / fineness, 0.035 * view.scale / fineness
    rows, columns = np.ogrid[:height, :width]
    distance = ((columns - x) / wide) ** 2 + ((rows - y) / high) ** 2
    scene *= (1.0 - 0.5 * np.exp(-distance))[..., None].astype(np.float32)


def _add_post(scene: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = scene.shape[:2]
    wide = max(2, round(width * rng.uniform(0.07, 0.16)))
    left = int(rng.integers(0, width - wide))
    top = round(height * rng.uniform(0.0, 0.5))
    grey = float(rng.uniform(0.2, 0.7))
    round_light = np.sin(np.linspace(0.35, math.pi - 0.35, wide, dtype=np.float32))
    scene[top:, left : left + wide] = grey * round_light[None, :, None]


def _add_car(scene: NDArray[np.float32], rng: np.random.Generator) -> None:
    """The roof and the bonnet of a parked car, over the legs."""
    height, width = scene.shape[:2]
    paint_job = pick(rng, CLOTH)
    top = height * float(rng.uniform(0.66, 0.84))
    image = Image.fromarray((scene * 255.0).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    start = width * float(rng.uniform(-0.9, 0.4))
    body = (start, top, start + 1.5 * width, height * 1.2)
    draw.rounded_rectangle(body, radius=height * 0.05, fill=paint_job)
    window = top + height * 0.025, top + height * 0.085
    draw.rectangle(
        (start + width * 0.1, window[0], start + 1.4 * width, window[1]), fill=(54, 62, 70)
    )
    scene[:] = np.asarray(image, dtype=np.float32) / 255.0
