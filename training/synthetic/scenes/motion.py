"""Motion blur: a fixed camera smears whoever moves while its shutter is open, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from training.synthetic.bodies.camera import Film
from training.synthetic.scenes.frame import TARGET_HEIGHT, FrameView
from training.synthetic.scenes.walks import TICK, Walk

Float32s = NDArray[np.float32]
Bools = NDArray[np.bool_]

PERSON = 1.7  # metres
WALKING = 1.2  # metres per second, of the person whom a camera's motion blur is stated for
LEAST = 0.3  # pixels; a shorter way is not visible


@dataclass(frozen=True, slots=True)
class Moving:
    """How far somebody moves in the picture while the shutter is open.

    Attributes:
        index: whose pixels in the frame are theirs.
        distance: from the camera, metres; nearer people hide others.
        across: pixels to the right.
        down: pixels.
    """

    index: int
    distance: float
    across: float
    down: float

    @property
    def length(self) -> float:
        """Pixels."""
        return math.hypot(self.across, self.down)


def shutter_seconds(film: Film) -> float:
    """How long a camera's shutter is open.

    Args:
        film: the camera; its motion blur is that of a crop, in which somebody walks past.

    Returns:
        Seconds.
    """
    return film.motion / film.resolution * PERSON / WALKING


def pixels_per_second(view: FrameView, walk: Walk, second: float) -> tuple[float, float]:
    """How fast somebody moves in the picture.

    Args:
        view: of the camera.
        walk: of the person, who is under way at that moment.
        second: since the first frame.

    Returns:
        Pixels per second to the right and down; 0 behind the camera.
    """
    moments = [
        (moment, found)
        for moment in (second - TICK / 2, second, second + TICK / 2)
        if (found := walk.at(moment)) is not None
    ]
    (first, (*start, _, _)), (last, (*end, _, _)) = moments[0], moments[-1]
    places, depth = view.pixels(np.array([[*start, TARGET_HEIGHT], [*end, TARGET_HEIGHT]]))
    if last == first or depth.min() <= 0.0:
        return 0.0, 0.0
    across, down = (places[1] - places[0]) / (last - first)
    return float(across), float(down)


def smear_people(
    light: Float32s, empty: Float32s, who: NDArray[np.int32], moving: Iterable[Moving]
) -> Float32s:
    """Smear everybody along the way that they move in the picture.

    Args:
        light: (H, W, 3) float32, with everybody at the middle of the exposure.
        empty: (H, W, 3) float32, the empty street, which shows where somebody no longer is.
        who: (H, W) int32, the index of the person in each pixel.
        moving: the people.

    Returns:
        (H, W, 3) float32; the same array where nobody moves visibly.
    """
    people = sorted(moving, key=lambda person: -person.distance)
    for position, person in enumerate(people):
        if person.length >= LEAST and (who == person.index).any():
            nearer = np.isin(who, [other.index for other in people[position + 1 :]])
            light = _smear(light, empty, who == person.index, nearer, person)
    return light


def _smear(
    light: Float32s, empty: Float32s, mask: Bools, nearer: Bools, person: Moving
) -> Float32s:
    part = _around(mask, math.ceil(person.length / 2.0) + 1)
    body, seen = mask[part].astype(np.float32), light[part]
    cover = _average(body, person)[:, :, None]
    behind = np.where(mask[part][:, :, None], empty[part], seen)
    smeared = _average(seen * body[:, :, None], person) + (1.0 - cover) * behind
    light = light.copy()
    light[part] = np.where(nearer[part][:, :, None], seen, smeared)
    return light


def _around(mask: Bools, margin: int) -> tuple[slice, slice]:
    """The smallest part of a frame that holds a mask and a margin."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )


def _average(part: Float32s, person: Moving) -> Float32s:
    """Average a picture over the places that it passes while the shutter is open."""
    moments = np.linspace(-0.5, 0.5, 2 * math.ceil(person.length) + 1)
    sides = (0.0,) * (part.ndim - 2)
    passed = [
        # The frame's edge cuts whoever walks through it; beyond it they go on.
        shift(part, (moment * person.down, moment * person.across, *sides), order=1, mode="nearest")
        for moment in moments
    ]
    return np.asarray(np.mean(passed, axis=0), np.float32)
