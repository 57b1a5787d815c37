"""What a body does in a picture: rotations of its bones.

Walking follows the angles of hip, knee and ankle over a stride that gait laboratories publish for
healthy adults (for example Perry, Gait Analysis, 1992), one value per tenth of a stride.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.body import BodyModel, Rotations
from training.synthetic.bodies.knobs import PeopleKnobs
from training.synthetic.bodies.person import BagKind, BottomCut, Person, ThingKind, TopCut

HIP = (30.0, 26.0, 18.0, 8.0, -1.0, -9.0, -8.0, 8.0, 24.0, 32.0)
KNEE = (6.0, 16.0, 18.0, 11.0, 6.0, 9.0, 32.0, 60.0, 54.0, 22.0)
ANKLE = (0.0, -5.0, 4.0, 8.0, 11.0, 9.0, -14.0, -12.0, -1.0, 2.0)
SIDES = (("L", 1.0, 0.0), ("R", -1.0, 0.5))
NARROW_SKIRT = 0.55


class Stance(StrEnum):
    """What the legs do."""

    WALK = "walk"
    STAND = "stand"
    SIT = "sit"


class Gesture(StrEnum):
    """What an arm does."""

    SWING = "swing"
    PHONE_AT_EAR = "phone-at-ear"
    LOOK_AT_PHONE = "look-at-phone"
    CARRY = "carry"
    POCKET = "pocket"
    HOLD_BAG = "hold-bag"
    PUSH = "push"
    HOLD_UP = "hold-up"
    FOLDED = "folded"


# Down from the rest pose, forward, inward, and the elbow's bend beyond the rest's; degrees.
STILL_ARMS = {
    Gesture.PHONE_AT_EAR: (34.0, 28.0, 0.0, 96.0),
    Gesture.LOOK_AT_PHONE: (38.0, 24.0, 12.0, 58.0),
    Gesture.CARRY: (38.0, 18.0, 22.0, 46.0),
    Gesture.POCKET: (34.0, -16.0, 0.0, 8.0),
    Gesture.HOLD_BAG: (44.0, 0.0, 0.0, -28.0),
    Gesture.PUSH: (38.0, 30.0, 6.0, 12.0),
    Gesture.HOLD_UP: (36.0, 36.0, 10.0, 78.0),
    Gesture.FOLDED: (38.0, 26.0, 34.0, 52.0),
}


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment.

    Attributes:
        stance: what the legs do.
        left: what the left arm does.
        right: what the right arm does.
        phase: of the stride, 0..1; the left heel strikes at 0.
        stride: length of the step, 1 is average.
        lean: how far the trunk leans forward, degrees.
        turn: how far the head turns to the left, degrees.
        nod: how far the head nods, degrees.
        swing: angle of the arms' swing, 1 is average.
        spread: how far the arms are off the body, degrees.
        sway: a small turn of hips and trunk while standing, degrees.
    """

    stance: Stance
    left: Gesture
    right: Gesture
    phase: float
    stride: float
    lean: float
    turn: float
    nod: float
    swing: float
    spread: float
    sway: float

    def gesture(self, side: str) -> Gesture:
        """What the arm of a side does.

        Args:
            side: ``L`` or ``R``.

        Returns:
            The gesture.
        """
        return self.left if side == "L" else self.right


def draw_pose(rng: np.random.Generator, person: Person, knobs: PeopleKnobs) -> Pose:
    """Invent a moment that fits what the person carries and wears.

    Args:
        rng: random stream of the picture.
        person: who.
        knobs: chances of standing, sitting, phoning, carrying.

    Returns:
        The pose.
    """
    stance = _draw_stance(rng, person, knobs)
    left, right = _draw_gestures(rng, person, knobs, stance)
    skirted = person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}
    stride = float(rng.uniform(0.55, 1.1)) * (NARROW_SKIRT if skirted else 1.0)
    looks = Gesture.LOOK_AT_PHONE in {left, right}
    return Pose(
        stance=stance,
        left=left,
        right=right,
        phase=float(rng.random()),
        stride=stride,
        lean=float(rng.normal(2.0, 2.5)),
        turn=float(rng.normal(0.0, 8.0 if looks else 20.0)),
        nod=float(rng.normal(22.0 if looks else 4.0, 6.0)),
        swing=float(rng.uniform(0.3, 1.3)),
        spread=float(rng.uniform(0.0, 9.0)),
        sway=float(rng.normal(0.0, 4.0)),
    )


def _draw_stance(rng: np.random.Generator, person: Person, knobs: PeopleKnobs) -> Stance:
    draw = rng.random()
    skirted = person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}
    upright = skirted or person.top.cut is TopCut.COAT or person.thing.kind is not ThingKind.NONE
    if draw < knobs.sitting and not upright:  # a skirt's tube fits no bent hips
        return Stance.SIT
    return Stance.STAND if draw < knobs.sitting + knobs.standing else Stance.WALK


def _draw_gestures(
    rng: np.random.Generator, person: Person, knobs: PeopleKnobs, stance: Stance
) -> tuple[Gesture, Gesture]:
    arms = {"L": Gesture.SWING, "R": Gesture.SWING}
    some, other = ("L", "R") if rng.random() < 0.5 else ("R", "L")
    draw = rng.random()
    if draw < knobs.phoning:
        arms[some] = Gesture.LOOK_AT_PHONE if rng.random() < 0.65 else Gesture.PHONE_AT_EAR
    elif draw < knobs.phoning + knobs.carrying:
        arms[some] = Gesture.CARRY
    elif draw > 0.86:
        arms[some] = Gesture.POCKET
        arms[other] = Gesture.POCKET if rng.random() < 0.5 else Gesture.SWING
    elif stance is Stance.STAND and draw > 0.76:
        arms = {"L": Gesture.FOLDED, "R": Gesture.FOLDED}
    side = "L" if person.bag.side > 0 else "R"
    match person.thing.kind:
        case ThingKind.PRAM:
            arms = {"L": Gesture.PUSH, "R": Gesture.PUSH}
        case ThingKind.UMBRELLA:
            arms["R" if side == "L" else "L"] = Gesture.HOLD_UP
        case ThingKind.SUITCASE:
            arms["R" if side == "L" else "L"] = Gesture.HOLD_BAG
        case ThingKind.NONE:
            pass
    if person.bag.kind is BagKind.HAND and person.thing.kind is not ThingKind.PRAM:
        arms[side] = Gesture.HOLD_BAG
    return arms["L"], arms["R"]


def rotations_of(pose: Pose, model: BodyModel) -> Rotations:
    """Turn a pose into rotations of bones.

    Args:
        pose: the moment.
        model: whose rest pose gives the elbows' axes.

    Returns:
        By bone, (3, 3) about the rest body's axes.
    """
    turns: Rotations = {}
    for side, sign, shift in SIDES:
        _turn_leg(turns, pose, side, sign, (pose.phase + shift) % 1.0)
        _turn_arm(turns, pose, model, side, sign)
        _curl_fingers(turns, pose.gesture(side), side, sign)
    walking = pose.stance is Stance.WALK
    twist = 5.0 * pose.stride * math.cos(2 * math.pi * pose.phase) if walking else pose.sway
    turns["spine05"] = turned("z", -0.6 * twist)
    turns["spine03"] = turned("z", 1.2 * twist) @ turned("x", pose.lean)
    turns["spine01"] = turned("x", 0.6 * pose.lean + 2.0)
    turns["neck01"] = turned("z", 0.3 * pose.turn) @ turned("x", 0.3 * pose.nod)
    turns["head"] = turned("z", 0.7 * pose.turn) @ turned("x", 0.7 * pose.nod)
    return turns


def _turn_leg(turns: Rotations, pose: Pose, side: str, sign: float, phase: float) -> None:
    match pose.stance:
        case Stance.WALK:
            hip, knee, ankle = (
                _at(curve, phase) * scale
                for curve, scale in (
                    (HIP, 0.85 * pose.stride),
                    (KNEE, min(1.0, 0.3 + 0.7 * pose.stride)),
                    (ANKLE, pose.stride),
                )
            )
        case Stance.STAND:
            relaxed = max(0.0, sign * pose.sway)
            hip, knee, ankle = 2.0 + 1.5 * relaxed, 3.0 + 3.0 * relaxed, 1.5 * relaxed
        case Stance.SIT:
            hip, knee, ankle = 82.0 + pose.sway, 80.0 + 2.0 * pose.sway, 0.0
    apart = 5.0 if pose.stance is not Stance.SIT else 2.0
    turns[f"upperleg01.{side}"] = turned("x", -hip) @ turned("y", sign * apart)
    turns[f"lowerleg01.{side}"] = turned("x", knee)
    turns[f"foot.{side}"] = turned("x", -ankle)


def _at(curve: tuple[float, ...], phase: float) -> float:
    return float(np.interp(phase * len(curve), range(len(curve)), curve, period=len(curve)))


def _turn_arm(turns: Rotations, pose: Pose, model: BodyModel, side: str, sign: float) -> None:
    hang, raised, inward, bend = _arm_angles(pose, side)
    down = turned("y", sign * (hang - pose.spread))
    turns[f"upperarm01.{side}"] = turned("z", -sign * inward) @ turned("x", -raised) @ down
    turns[f"lowerarm01.{side}"] = about(_elbow_axis(model, sign), bend)


def _arm_angles(pose: Pose, side: str) -> tuple[float, float, float, float]:
    """Down from the rest pose, forward, inward, and the elbow's bend beyond the rest's; degrees."""
    gesture = pose.gesture(side)
    if gesture is not Gesture.SWING:
        return STILL_ARMS[gesture]
    match pose.stance:
        case Stance.WALK:
            ahead = math.cos(2 * math.pi * (pose.phase + (0.5 if side == "L" else 0.0)))
            swing = 20.0 * pose.swing * pose.stride * ahead
            return 40.0, swing - 2.0, 0.0, -22.0 + 0.7 * max(0.0, swing)
        case Stance.SIT:
            return 38.0, 32.0, 8.0, 18.0
        case Stance.STAND:
            return 41.0, -2.0, 0.0, -24.0


def _elbow_axis(model: BodyModel, sign: float) -> NDArray[np.float64]:
    joints = model.neutral.joints
    shoulder, elbow, wrist = (
        joints[model.bone(name)] for name in ("upperarm01.L", "lowerarm01.L", "wrist.L")
    )
    axis = np.cross(elbow - shoulder, wrist - elbow).astype(np.float64)
    return np.asarray(axis * [1.0, sign, sign], dtype=np.float64)


def _curl_fingers(turns: Rotations, gesture: Gesture, side: str, sign: float) -> None:
    holds = gesture not in {Gesture.SWING, Gesture.FOLDED}
    for finger in "2345":
        for joint in "123":
            bend = (55.0 if holds else 16.0 + 3.0 * int(finger)) * (1.0 if joint != "3" else 0.7)
            turns[f"finger{finger}-{joint}.{side}"] = turned("y", sign * bend)


def turned(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation about one of the rest body's axes.

    Args:
        axis: ``x`` (to the left), ``y`` (to the back) or ``z`` (up).
        degrees: angle, right-handed.

    Returns:
        (3, 3) float64.
    """
    return about(np.eye(3)["xyz".index(axis)], degrees)


def about(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Rotation about any axis (Rodrigues' formula).

    Args:
        axis: (3,), any length above 0.
        degrees: angle, right-handed.

    Returns:
        (3, 3) float64.
    """
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = math.radians(degrees)
    turn = np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross
    return np.asarray(turn, dtype=np.float64)
