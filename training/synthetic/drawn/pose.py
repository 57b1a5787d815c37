"""The pose of a person in one crop: a walking skeleton, turned in some direction.

Body coordinates are in units of the person's height: x to the person's left, y up from the floor,
z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Point = tuple[float, float, float]

THIGH, SHIN, FOOT = 0.245, 0.235, 0.085
UPPER_ARM, FOREARM = 0.165, 0.145
ANKLE_HEIGHT = 0.035
HIP_WIDTH, SHOULDER_WIDTH = 0.052, 0.101
SHOULDER_ABOVE_HIP, HEAD_ABOVE_HIP = 0.305, 0.418
STANDING_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment of a walk.

    Attributes:
        yaw: radians; 0 faces the camera, pi/2 walks to the right of the image.
        phase: radians, position in the walking cycle.
        stride: radians, amplitude of the legs.
        swing: radians, amplitude of the arms.
        bend: radians, bend of the elbows.
    """

    yaw: float
    phase: float
    stride: float
    swing: float
    bend: float


@dataclass(frozen=True, slots=True)
class Leg:
    """Joints of one leg."""

    hip: Point
    knee: Point
    ankle: Point
    toe: Point


@dataclass(frozen=True, slots=True)
class Arm:
    """Joints of one arm."""

    shoulder: Point
    elbow: Point
    wrist: Point


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Joints of a body, legs and arms left then right; ``hip`` is the height of the hip joints."""

    legs: tuple[Leg, Leg]
    arms: tuple[Arm, Arm]
    hip: float

    @property
    def shoulder(self) -> float:
        """Height of the shoulders."""
        return self.hip + SHOULDER_ABOVE_HIP

    @property
    def head(self) -> float:
        """Height of the centre of the head."""
        return self.hip + HEAD_ABOVE_HIP


def draw_pose(rng: np.random.Generator, path: float) -> Pose:
    """Draw a random moment of a walk along a path, in either direction.

    Args:
        rng: random stream of this crop.
        path: yaw of people who come along the camera's path, radians.

    Returns:
        The pose.
    """
    turned = math.pi if rng.random() < 0.5 else 0.0
    standing = rng.random() < STANDING_SHARE
    return Pose(
        yaw=path + turned + float(rng.normal(0.0, 0.45)),
        phase=float(rng.uniform(0.0, 2.0 * math.pi)),
        stride=float(rng.uniform(0.02, 0.1) if standing else rng.uniform(0.28, 0.5)),
        swing=float(rng.uniform(0.02, 0.1) if standing else rng.uniform(0.2, 0.55)),
        bend=float(rng.uniform(0.1, 0.6)),
    )


def skeleton(pose: Pose, build: float) -> Skeleton:
    """Compute the joints of a body in a pose, with its lower foot on the floor.

    Args:
        pose: the moment.
        build: factor on the body's widths.

    Returns:
        The joints, in body coordinates.
    """
    phases = (pose.phase, pose.phase + math.pi)
    drops = [_leg_drop(pose, phase) for phase in phases]
    hip = max(drops) + ANKLE_HEIGHT
    sides = (1.0, -1.0)
    return Skeleton(
        legs=(
            _leg(pose, phases[0], (sides[0] * HIP_WIDTH * build, hip, 0.0)),
            _leg(pose, phases[1], (sides[1] * HIP_WIDTH * build, hip, 0.0)),
        ),
        arms=(
            _arm(pose, phases[1], _shoulder(sides[0], hip, build)),
            _arm(pose, phases[0], _shoulder(sides[1], hip, build)),
        ),
        hip=hip,
    )


def _knee_angles(pose: Pose, phase: float) -> tuple[float, float]:
    """Angles of thigh and shin to the vertical; the knee of the forward leg is bent."""
    thigh = pose.stride * math.sin(phase)
    return thigh, thigh - pose.stride * (0.15 + 1.1 * max(0.0, math.cos(phase)))


def _leg_drop(pose: Pose, phase: float) -> float:
    thigh, shin = _knee_angles(pose, phase)
    return THIGH * math.cos(thigh) + SHIN * math.cos(shin)


def _leg(pose: Pose, phase: float, hip: Point) -> Leg:
    thigh, shin = _knee_angles(pose, phase)
    knee = _hang(hip, THIGH, thigh)
    ankle = _hang(knee, SHIN, shin)
    foot = 0.6 * shin
    toe = (
        ankle[0] * 1.15,
        ankle[1] - 0.015 + FOOT * math.sin(foot),
        ankle[2] + FOOT * math.cos(foot),
    )
    return Leg(hip, knee, ankle, toe)


def _shoulder(side: float, hip: float, build: float) -> Point:
    return side * SHOULDER_WIDTH * (0.5 + 0.5 * build), hip + SHOULDER_ABOVE_HIP - 0.015, 0.0


def _arm(pose: Pose, phase: float, shoulder: Point) -> Arm:
    angle = pose.swing * math.sin(phase)
    outward = math.copysign(0.022, shoulder[0])
    x, y, z = _hang(shoulder, UPPER_ARM, angle)
    elbow = (x + outward, y, z)
    return Arm(shoulder, elbow, _hang(elbow, FOREARM, angle + pose.bend))


def _hang(joint: Point, length: float, angle: float) -> Point:
    """End of a bone that hangs from a joint, swung forward by an angle."""
    x, y, z = joint
    return x, y - length * math.cos(angle), z + length * math.sin(angle)
