"""Clothes and bags, painted on a skeleton."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from training.synthetic.drawn.brush import Brush, Ring, Tube
from training.synthetic.drawn.palette import RGB, tone
from training.synthetic.drawn.person import (
    Bag,
    Bottom,
    Pattern,
    Person,
    Sleeves,
    Top,
    Upper,
)

if TYPE_CHECKING:
    from training.synthetic.drawn.pose import Arm, Leg, Point, Skeleton

EASE = {Top.SHIRT: 0.0, Top.DRESS: 0.0, Top.HOODIE: 0.007, Top.JACKET: 0.008, Top.COAT: 0.010}
HEM = {Top.SHIRT: -0.02, Top.HOODIE: -0.03, Top.JACKET: -0.045, Top.COAT: -0.19, Top.DRESS: -0.2}
FLARE = {Top.COAT: (1.12, 1.4), Top.DRESS: (1.3, 1.75)}


def torso(person: Person, bones: Skeleton) -> Tube:
    """The shape of the upper clothes, from the collar to the hem.

    Args:
        person: the person who wears them.
        bones: the pose.

    Returns:
        The tube that patterns and straps lie on.
    """
    build, top = person.body.build, person.upper.top
    ease = EASE[top]
    hip, shoulder = bones.hip, bones.shoulder
    wide, deep = FLARE.get(top, (1.0, 1.0))
    return Tube(
        Ring(shoulder + 0.040, 0.040, 0.042),
        Ring(shoulder + 0.018, 0.080 * (0.5 + 0.5 * build), 0.052),
        Ring(shoulder - 0.008, 0.105 * (0.5 + 0.5 * build) + ease, 0.056 * build + ease),
        Ring(shoulder - 0.070, 0.102 * build + ease, 0.064 * build + ease),
        Ring(shoulder - 0.170, 0.088 * build + ease, 0.062 * build + ease),
        Ring(hip + 0.035, 0.092 * build + ease, 0.066 * build + ease),
        Ring(hip + HEM[top], 0.095 * build * wide + ease, 0.068 * build * deep + ease),
    )


def paint_upper(brush: Brush, upper: Upper, tube: Tube) -> None:
    """Paint the upper clothes without the sleeves: cloth, pattern, and details of the cut.

    Args:
        brush: the canvas.
        upper: the clothes.
        tube: their shape.
    """
    brush.wrap(tube, (tube.top, tube.bottom), upper.colour, edged=True)
    match upper.pattern:
        case Pattern.STRIPES:
            _bands(brush, tube, upper.accent, step=0.058)
        case Pattern.CHECKS:
            _bands(brush, tube, tone(upper.accent, 0.9), step=0.075, thickness=0.25)
            for turn in range(-6, 7):
                angle = turn * 0.48
                brush.wrap(tube, _inside(tube), upper.accent, (angle - 0.06, angle + 0.06))
        case Pattern.LOGO:
            chest = tube.top - 0.105
            brush.wrap(tube, (chest, chest - 0.075), upper.accent, (-0.62, 0.62))
            bar = (chest - 0.03, chest - 0.045)
            brush.wrap(tube, bar, upper.colour, (-0.4, 0.4))
        case Pattern.TWO_TONE:
            brush.wrap(tube, (tube.top - 0.004, tube.top - 0.15), upper.accent)
        case Pattern.PLAIN:
            pass
    _paint_cut(brush, upper, tube)


def _inside(tube: Tube) -> tuple[float, float]:
    return tube.top - 0.02, tube.bottom + 0.006


def _bands(brush: Brush, tube: Tube, colour: RGB, step: float, thickness: float = 0.45) -> None:
    top, bottom = _inside(tube)
    for index in range(int((top - bottom) / step) + 1):
        upper_edge = top - 0.01 - index * step
        lower_edge = max(bottom, upper_edge - thickness * step)
        if upper_edge > lower_edge:
            brush.wrap(tube, (upper_edge, lower_edge), colour)


def _paint_cut(brush: Brush, upper: Upper, tube: Tube) -> None:
    dark = tone(upper.colour, 0.7)
    match upper.top:
        case Top.JACKET:
            lining = upper.accent if upper.pattern is Pattern.PLAIN else tone(upper.colour, 1.5)
            brush.wrap(tube, (tube.top, tube.bottom), dark, (-0.38, 0.38))
            brush.wrap(tube, (tube.top, tube.bottom), lining, (-0.28, 0.28))
        case Top.COAT:
            brush.wrap(tube, (tube.top, tube.bottom), dark, (-0.06, 0.06))
            waist = tube.top - 0.235
            brush.wrap(tube, (waist, waist - 0.022), dark)
        case Top.HOODIE:
            pocket = tube.bottom + 0.10
            brush.wrap(tube, (pocket, tube.bottom + 0.025), dark, (-0.7, 0.7))
            brush.wrap(tube, (tube.bottom + 0.02, tube.bottom), dark)
        case Top.DRESS:
            waist = tube.top - 0.215
            brush.wrap(tube, (waist, waist - 0.02), upper.accent)
        case Top.SHIRT:
            pass


def paint_hood(brush: Brush, upper: Upper, bones: Skeleton) -> None:
    """Paint the hood of a hoodie, lying on the back."""
    left, right = (-0.042, bones.shoulder + 0.01, -0.05), (0.042, bones.shoulder + 0.01, -0.05)
    brush.limb((left, right), (0.034, 0.034), tone(upper.colour, 0.88))


def paint_arm(brush: Brush, person: Person, arm: Arm) -> None:
    """Paint one arm with its sleeve.

    Args:
        brush: the canvas.
        person: the person.
        arm: its joints.
    """
    upper, skin = person.upper, person.body.skin
    girth = 0.5 + 0.5 * person.body.build
    ease = 0.004 + EASE[upper.top]
    hand = _beyond(arm.elbow, arm.wrist, 1.2)
    shoulder, elbow, wrist = 0.031 * girth, 0.026 * girth, 0.020 * girth
    bare = (arm.shoulder, arm.elbow, arm.wrist, hand)
    brush.limb(bare, (shoulder - 0.004, elbow, wrist, 0.017), skin)
    cloth = tone(upper.accent if upper.pattern is Pattern.TWO_TONE else upper.colour, 0.94)
    match upper.sleeves:
        case Sleeves.NONE:
            pass
        case Sleeves.SHORT:
            cuff = _beyond(arm.shoulder, arm.elbow, 0.65)
            brush.limb((arm.shoulder, cuff), (shoulder + ease, shoulder + 0.002), cloth)
        case Sleeves.LONG:
            joints = (arm.shoulder, arm.elbow, arm.wrist)
            brush.limb(joints, (shoulder + ease, elbow + ease, wrist + ease), cloth)
    if upper.pattern is Pattern.STRIPES:
        _stripe_sleeve(brush, upper, arm, (shoulder + ease, elbow + ease))


def _stripe_sleeve(brush: Brush, upper: Upper, arm: Arm, radii: tuple[float, float]) -> None:
    ends = {Sleeves.NONE: (), Sleeves.SHORT: (0.28,), Sleeves.LONG: (0.28, 0.58, 0.88)}
    for start in ends[upper.sleeves]:
        band = (
            _beyond(arm.shoulder, arm.elbow, start),
            _beyond(arm.shoulder, arm.elbow, start + 0.1),
        )
        girth = radii[0] + start * (radii[1] - radii[0]) - 0.004
        brush.bar(band, girth, upper.accent)


def paint_leg(brush: Brush, person: Person, leg: Leg) -> None:
    """Paint one leg with its shoe.

    Args:
        brush: the canvas.
        person: the person.
        leg: its joints.
    """
    skin, lower = person.body.skin, person.lower
    girth = 0.45 + 0.55 * person.body.build
    thigh, knee, ankle = 0.053 * girth, 0.038 * girth, 0.024 * girth
    _paint_shoe(brush, person, leg)
    bottom = lower.bottom
    if person.upper.top is Top.DRESS and bottom is Bottom.TROUSERS:
        bottom = Bottom.LEGGINGS
    joints, bare = (leg.hip, leg.knee, leg.ankle), (thigh - 0.004, knee, ankle)
    match bottom:
        case Bottom.TROUSERS:
            brush.limb(joints, (thigh, knee + 0.006, ankle + 0.013), lower.colour)
        case Bottom.LEGGINGS:
            brush.limb(joints, bare, lower.colour)
        case Bottom.SHORTS:
            brush.limb(joints, bare, skin)
            cuff = _beyond(leg.hip, leg.knee, 0.78)
            brush.limb((leg.hip, cuff), (thigh, knee + 0.014), lower.colour)
        case Bottom.SKIRT:
            brush.limb(joints, bare, skin)


def _paint_shoe(brush: Brush, person: Person, leg: Leg) -> None:
    if person.shoes.pale_sole:
        drop = 0.010
        heel = leg.ankle[0], leg.ankle[1] - 0.012 - drop, leg.ankle[2] - 0.012
        toe = leg.toe[0], leg.toe[1] - drop, leg.toe[2]
        brush.limb((heel, toe), (0.020, 0.016), (226, 226, 222))
    heel = leg.ankle[0], leg.ankle[1] - 0.008, leg.ankle[2] - 0.012
    brush.limb((heel, leg.toe), (0.024, 0.017), person.shoes.colour)


def paint_hips(brush: Brush, person: Person, bones: Skeleton) -> None:
    """Paint the seat of the trousers, which joins the legs, or a skirt."""
    build, hip = person.body.build, bones.hip
    waist = Ring(hip + 0.06, 0.086 * build, 0.060 * build)
    if person.lower.bottom is Bottom.SKIRT:
        hem = Ring(hip - 0.215, 0.118 * build, 0.112 * build)
    else:
        hem = Ring(hip - 0.045, 0.098 * build, 0.064 * build)
    tube = Tube(waist, Ring(hip, 0.094 * build, 0.068 * build), hem)
    edged = person.lower.bottom is Bottom.SKIRT
    brush.wrap(tube, (tube.top, tube.bottom), person.lower.colour, edged=edged)


def paint_backpack(brush: Brush, bag: Bag, bones: Skeleton, tube: Tube) -> None:
    """Paint a backpack: a box on the back; from the front its sides are visible."""
    z = -tube.ring(bones.shoulder - 0.12).depth - 0.045
    top, bottom = bones.shoulder + 0.005, bones.shoulder - 0.225
    pack = Tube(
        Ring(top, 0.070, 0.040, z=z),
        Ring(top - 0.04, 0.092, 0.056, z=z),
        Ring(bottom, 0.096, 0.060, z=z),
    )
    brush.wrap(pack, (top, bottom), bag.colour, edged=True)
    pocket = bottom + 0.10, bottom + 0.02
    brush.wrap(pack, pocket, tone(bag.colour, 0.8), (math.pi - 0.9, math.pi + 0.9))
    brush.wrap(pack, (top - 0.05, top - 0.06), tone(bag.colour, 0.6))


def paint_straps(brush: Brush, bag: Bag, bones: Skeleton, tube: Tube) -> None:
    """Paint the straps of a backpack, over the shoulders and down the chest."""
    strap = tone(bag.colour, 0.85)
    for side in (-1.0, 1.0):
        angles = (side * 0.62 - 0.1, side * 0.62 + 0.1)
        brush.wrap(tube, (tube.top - 0.012, bones.shoulder - 0.15), strap, angles)


def paint_shoulder_bag(brush: Brush, bag: Bag, bones: Skeleton, tube: Tube) -> None:
    """Paint a bag on one hip."""
    x = bag.side * (tube.ring(bones.hip + 0.05).width + 0.022)
    top, bottom = bones.hip + 0.075, bones.hip - 0.05
    pouch = Tube(Ring(top, 0.024, 0.072, x=x), Ring(bottom, 0.030, 0.080, x=x))
    brush.wrap(pouch, (top, bottom), bag.colour, edged=True)
    brush.wrap(pouch, (top - 0.005, top - 0.05), tone(bag.colour, 0.8))


def paint_sling(brush: Brush, bag: Bag, bones: Skeleton, tube: Tube) -> None:
    """Paint the strap of a shoulder bag, from the other shoulder across chest and back."""
    strap = tone(bag.colour, 0.8)
    steps = 8
    for facing in (0.0, math.pi):
        edges: tuple[list[Point], list[Point]] = ([], [])
        for step in range(steps + 1):
            share = step / steps
            angle = bag.side * (1.5 * share - 0.75 * (1.0 - share))
            angle = angle if facing == 0.0 else math.pi - angle
            height = bones.shoulder + 0.02 - share * 0.25
            if math.cos(angle - tube.ring(height).facing(brush.view.yaw)) < 0.0:
                continue
            for edge, lift in zip(edges, (0.012, -0.012), strict=True):
                edge.append(tube.ring(height + lift).at(angle))
        if len(edges[0]) > 1:
            brush.patch([*edges[0], *edges[1][::-1]], strap)


def _beyond(start: Point, end: Point, share: float) -> Point:
    """The point at a share of the way from start to end; beyond the end if the share exceeds 1."""
    return (
        start[0] + share * (end[0] - start[0]),
        start[1] + share * (end[1] - start[1]),
        start[2] + share * (end[2] - start[2]),
    )
