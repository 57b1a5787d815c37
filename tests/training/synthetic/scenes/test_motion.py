"""Motion blur in scenes: how far people move in the picture, and what a smear leaves as it was."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from training.synthetic.bodies.pose import Gesture, Pose, Stance
from training.synthetic.bodies.view import View
from training.synthetic.scenes.frame import TARGET_HEIGHT, FrameView
from training.synthetic.scenes.motion import (
    Moving,
    pixels_per_second,
    shutter_seconds,
    smear_people,
)
from training.synthetic.scenes.walks import TICK, Walk

POSE = Pose(Stance.WALK, Gesture.SWING, Gesture.SWING, 0.0, 1.0, 2.0, 10.0, 4.0, 1.0, 4.0, 3.0)
# A camera 10 m from the origin that looks along +y; 500 pixels on the plane one metre ahead.
VIEW = FrameView(
    View.towards(np.array([0.0, -10.0, TARGET_HEIGHT]), np.array([0.0, 0.0, TARGET_HEIGHT])),
    500.0,
    (100, 200),
)
EMPTY = np.full((20, 30, 3), 0.25, np.float32)
BLOCK = (slice(5, 15), slice(10, 18))


def walk_along(direction, ticks=21):
    table = np.zeros((ticks, 5))
    table[:, :2] = np.outer(np.arange(ticks) * TICK, direction)
    return Walk(identity=1, visit=0, start=0, table=table, pose=POSE)


def with_block(value=1.0, block=BLOCK):
    light, who = EMPTY.copy(), np.full(EMPTY.shape[:2], -1, np.int32)
    light[block], who[block] = value, 0
    return light, who


@pytest.mark.parametrize(
    ("direction", "expected"), [((1.0, 0.0), (50.0, 0.0)), ((-1.5, 0.0), (-75.0, 0.0))]
)
def test_whoever_passes_moves_by_focal_length_over_distance(direction, expected):
    walk = walk_along(direction)
    walk = replace(walk, table=walk.table - walk.table[10])  # at the origin in the middle
    assert pixels_per_second(VIEW, walk, 1.0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("second", [0.0, 2.0])
def test_the_first_and_the_last_moment_have_a_speed_too(second):
    across, _ = pixels_per_second(VIEW, walk_along((1.0, 0.0)), second)
    assert across == pytest.approx(50.0)


def test_whoever_stands_does_not_move():
    assert pixels_per_second(VIEW, walk_along((0.0, 0.0)), 1.0) == (0.0, 0.0)


def test_the_shutter_follows_the_blur_of_crops():
    film = SimpleNamespace(motion=2.0, resolution=100.0)
    # Two of the hundred pixels that 1.7 m cover, at 1.2 m/s.
    assert shutter_seconds(film) == pytest.approx(2.0 / 100.0 * 1.7 / 1.2)
    assert shutter_seconds(SimpleNamespace(motion=0.0, resolution=100.0)) == 0.0


def test_a_smear_spreads_along_the_way_and_loses_no_light():
    light, who = with_block()
    smeared = smear_people(light, EMPTY, who, [Moving(0, 5.0, 4.0, 0.0)])
    row = smeared[10, :, 0]
    assert smeared.sum() == pytest.approx(light.sum(), rel=1e-5)
    assert row[:8] == pytest.approx(0.25)
    assert row[20:] == pytest.approx(0.25)
    assert row[13:15] == pytest.approx(1.0)
    assert np.all(np.diff(row[7:14]) >= 0.0)
    assert row[9] > 0.26
    assert row[10] < 0.99
    assert np.array_equal(smeared[[4, 15]], EMPTY[[4, 15]])  # nothing above and below


def test_nobody_who_stands_and_no_street_is_smeared():
    light, who = with_block()
    assert smear_people(light, EMPTY, who, [Moving(0, 5.0, 0.1, 0.2)]) is light
    assert smear_people(light, EMPTY, who, [Moving(7, 5.0, 9.0, 0.0)]) is light  # out of sight
    street = np.random.default_rng(0).random(EMPTY.shape).astype(np.float32)
    seen = street.copy()
    seen[BLOCK] = 1.0
    smeared = smear_people(seen, street, who, [Moving(0, 5.0, 3.0, 3.0)])
    assert np.array_equal(smeared[:2], street[:2])
    assert np.array_equal(smeared[:, :7], street[:, :7])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_people_stay_in_front(order):
    light, who = with_block()
    light[5:15, 18:24], who[5:15, 18:24] = 0.0, 1
    people = [Moving(0, 9.0, 6.0, 0.0), Moving(1, 3.0, 0.0, 0.0)]
    smeared = smear_people(light, EMPTY, who, [people[each] for each in order])
    assert np.array_equal(smeared[5:15, 18:24], light[5:15, 18:24])
    assert smeared[10, 9, 0] > 0.25


def test_the_frames_edge_gets_no_seam():
    light, who = with_block(block=(slice(5, 15), slice(0, 8)))
    smeared = smear_people(light, EMPTY, who, [Moving(0, 5.0, 5.0, 0.0)])
    assert smeared[10, :4, 0] == pytest.approx(1.0)
