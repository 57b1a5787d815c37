"""Paint one person in one pose, back to front, and average pixels for smooth edges."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.synthetic.drawn import clothes
from training.synthetic.drawn.brush import Brush, View
from training.synthetic.drawn.head import HeadPainter
from training.synthetic.drawn.person import BagKind, Person, Top
from training.synthetic.drawn.pose import Arm, Pose, Skeleton, skeleton

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Layer = tuple[float, "Callable[[], None]"]
LEGS_BEHIND = -1.0
ARM_BIAS = 0.03


def paint(
    person: Person, pose: Pose, view: View, size: tuple[int, int], fineness: int
) -> Image.Image:
    """Draw a person on a transparent background.

    Args:
        person: the person.
        pose: the moment of a walk.
        view: the camera's view, in pixels of the fine canvas.
        size: (height, width) of the result, pixels.
        fineness: canvas pixels per result pixel and direction.

    Returns:
        RGBA with colours multiplied by alpha.
    """
    height, width = size
    canvas = Image.new("RGBA", (width * fineness, height * fineness))
    brush = Brush(ImageDraw.Draw(canvas), view)
    bones = skeleton(pose, person.body.build)
    for _, layer in sorted(_layers(brush, person, bones), key=lambda layer: layer[0]):
        layer()
    return canvas.reduce(fineness)


def _layers(brush: Brush, person: Person, bones: Skeleton) -> list[Layer]:
    """Everything to paint, with its depth; the torso is at 0."""
    depth, head = brush.view.depth, HeadPainter(brush, person, bones)
    tube = clothes.torso(person, bones)
    layers: list[Layer] = [
        (LEGS_BEHIND + depth(leg.knee), partial(clothes.paint_leg, brush, person, leg))
        for leg in bones.legs
    ]
    layers += [
        (_arm_depth(brush, arm), partial(clothes.paint_arm, brush, person, arm))
        for arm in bones.arms
    ]
    layers += [
        (0.5 * LEGS_BEHIND, partial(clothes.paint_hips, brush, person, bones)),
        (-0.001, head.neck),
        (0.0, partial(clothes.paint_upper, brush, person.upper, tube)),
        (depth((0.0, 0.0, -0.08)), head.falling_hair),
        (0.035, head.head),
    ]
    if person.upper.top is Top.HOODIE:
        hood = depth((0.0, 0.0, -0.02))
        layers.append((hood, partial(clothes.paint_hood, brush, person.upper, bones)))
    return layers + _bag_layers(brush, person, bones)


def _bag_layers(brush: Brush, person: Person, bones: Skeleton) -> list[Layer]:
    depth, bag, tube = brush.view.depth, person.bag, clothes.torso(person, bones)
    match bag.kind:
        case BagKind.BACKPACK:
            behind = depth((0.0, 0.0, -0.10))
            return [
                (behind, partial(clothes.paint_backpack, brush, bag, bones, tube)),
                (0.001, partial(clothes.paint_straps, brush, bag, bones, tube)),
            ]
        case BagKind.SHOULDER:
            aside = depth((bag.side * 0.14, 0.0, 0.0)) + ARM_BIAS + 0.02
            return [
                (aside, partial(clothes.paint_shoulder_bag, brush, bag, bones, tube)),
                (0.002, partial(clothes.paint_sling, brush, bag, bones, tube)),
            ]
        case BagKind.NONE:
            return []


def _arm_depth(brush: Brush, arm: Arm) -> float:
    joints = (arm.shoulder, arm.elbow, arm.wrist)
    return sum(brush.view.depth(joint) for joint in joints) / 3.0 + ARM_BIAS


def round_off(figure: NDArray[np.float32], sun: float, strength: float) -> NDArray[np.float32]:
    """Shade a flat figure as if it were round, with the slope of its blurred outline as normal.

    Args:
        figure: (H, W, 4) float32, 0..1, colours multiplied by alpha.
        sun: direction of the light, radians; 0 is the right, pi/2 above.
        strength: 0 leaves the figure flat.

    Returns:
        (H, W, 4) float32, 0..1.
    """
    height = figure.shape[0]
    alpha = Image.fromarray((figure[..., 3] * 255.0).astype(np.uint8))
    blurred = np.asarray(alpha.filter(ImageFilter.BoxBlur(height / 36.0)), dtype=np.float32) / 255.0
    step = max(1, round(height / 48))
    across = np.roll(blurred, step, axis=1) - np.roll(blurred, -step, axis=1)
    up = np.roll(blurred, -step, axis=0) - np.roll(blurred, step, axis=0)
    light = 1.0 + strength * (math.cos(sun) * across + math.sin(sun) * up)
    shaded = figure.copy()
    shaded[..., :3] *= np.clip(light, 0.5, 1.5)[..., None]
    return np.minimum(shaded, figure[..., 3:])
