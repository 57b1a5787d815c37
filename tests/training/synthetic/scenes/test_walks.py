"""Walks: how fast, where the feet are, and that nobody jumps."""

import numpy as np
import pytest

from training.synthetic.bodies.pose import Gesture, Pose, Stance
from training.synthetic.scenes.paths import Way, _rounded
from training.synthetic.scenes.walks import TICK, Pace, Walk, stride_for, walk_way

CORNERS = np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 5.0]])
WAY = Way(_rounded(CORNERS, 0.6), 4.0)
POSE = Pose(Stance.WALK, Gesture.SWING, Gesture.SWING, 0.0, 1.0, 2.0, 10.0, 4.0, 1.0, 4.0, 3.0)


def walked(stop=0, speed=1.2, aside=0.0):
    table = walk_way(WAY, Pace(speed, stop), aside, 1.0, 0.8)
    return Walk(identity=1, visit=0, start=5, table=table, pose=POSE)


def test_a_rounded_corner_stays_near_the_way():
    away = np.minimum(np.abs(WAY.points[:, 1]), np.abs(WAY.points[:, 0] - 6.0))
    assert away.max() < 0.25
    steps = np.linalg.norm(np.diff(WAY.points, axis=0), axis=1)
    assert steps.max() < 0.06


@pytest.mark.parametrize("speed", [0.8, 1.2, 1.6])
def test_the_speed_is_kept(speed):
    steps = np.linalg.norm(np.diff(walked(speed=speed).table[:, :2], axis=0), axis=1)
    assert np.median(steps) == pytest.approx(speed * TICK, rel=0.02)
    assert steps.max() < 1.1 * speed * TICK


@pytest.mark.parametrize("stop", [0, 50])
@pytest.mark.parametrize("aside", [0.0, 0.36, -0.72])
def test_nobody_jumps_or_spins(stop, aside):
    table = walked(stop, aside=aside).table
    assert np.linalg.norm(np.diff(table[:, :2], axis=0), axis=1).max() < 1.6 * 1.2 * TICK
    assert np.abs(np.diff(table[:, 2])).max() < 0.35


def test_people_face_where_they_go():
    """A yaw of 0 faces -y, and grows to the left."""
    walk = walked()
    x, y, yaw, _ = walk.at(1.0)
    later = walk.at(1.2)
    ahead = np.array([later[0] - x, later[1] - y])
    assert ahead / np.linalg.norm(ahead) == pytest.approx([np.sin(yaw), -np.cos(yaw)], abs=0.02)


def test_the_stride_advances_with_the_distance():
    table = walked().table
    metres = np.linalg.norm(np.diff(table[:, :2], axis=0), axis=1)
    strides = np.diff(table[:, 3])
    assert strides == pytest.approx(metres / 0.885, rel=0.01)


def test_legs_are_side_by_side_where_they_stop():
    walk = walked(stop=50)
    standing = np.flatnonzero(walk.table[:, 4] == 0.0)
    assert len(standing) == 50
    assert walk.table[standing, 3] == pytest.approx(0.0)
    assert np.ptp(walk.table[standing, :2], axis=0) == pytest.approx(0.0)
    second = (walk.start + standing[25]) * TICK
    assert walk.at(second)[3].stance is Stance.STAND
    place = walk.table[standing[0], :2]
    assert np.linalg.norm(place - [4.0, 0.0]) < 0.15


def test_standing_people_turn_and_turn_back():
    yaw = walked(stop=80).table[:, 2]
    straight = np.pi / 2  # along +x
    assert yaw[:20] == pytest.approx(straight, abs=0.01)
    assert yaw.max() > straight + 0.7


def test_nobody_is_there_before_and_after():
    walk = walked()
    assert walk.at(walk.start * TICK - 0.01) is None
    assert walk.at(walk.end * TICK + 0.01) is None
    assert walk.at((walk.start + 3) * TICK) is not None


def test_skirts_take_shorter_steps():
    assert stride_for(1.2, skirted=True) < stride_for(1.2, skirted=False)
