"""A box is expected where its person goes."""

from __future__ import annotations

import numpy as np
import pytest

from service.tracking.association import best_pairs, widened_iou
from service.tracking.motion import Motion
from service.values.boxes import Box


def walk(times: list[float]) -> Motion:
    """Follow somebody who goes 100 pixels per second."""
    motion = Motion.begin(Box(0, 0, 80, 200), times[0])
    for seconds in times[1:]:
        motion = motion.at(seconds).seen(Box(100 * seconds, 0, 80, 200))
    return motion


@pytest.mark.parametrize("times", [[n / 10 for n in range(30)], [0, 0.4, 0.5, 1.5, 1.7, 2.9]])
def test_somebody_who_walks_is_expected_farther_on(times):
    expected = walk(times).at(times[-1] + 1)
    np.testing.assert_allclose(
        expected.corners, np.array([0, 0, 80, 200]) + [100 * (times[-1] + 1), 0] * 2, atol=12
    )


def test_a_prediction_in_two_steps_is_that_in_one():
    motion = walk([0.0, 0.3, 0.5])
    once, twice = motion.at(2.5), motion.at(1.1).at(2.5)
    np.testing.assert_allclose(once.place, twice.place)
    np.testing.assert_allclose(once.variance, twice.variance)


def test_doubt_grows_until_the_person_is_seen():
    motion = walk([0.0, 0.2, 0.4, 0.6])
    doubts = [motion.at(0.6 + gap).doubt for gap in (0.0, 0.5, 1.0, 2.0)]
    assert doubts == sorted(doubts)
    assert motion.at(2.6).seen(Box(260, 0, 80, 200)).doubt < doubts[1]


def test_the_place_varies_less_than_the_boxes():
    rng = np.random.default_rng(0)
    motion = Motion.begin(Box(300, 0, 80, 200), 0.0)
    places = []
    for number in range(1, 200):
        motion = motion.at(number / 10).seen(Box(300 + rng.normal(0, 10), 0, 80, 200))
        places.append(motion.place[0])
    assert np.std(places[20:]) < 8


def test_a_box_never_gets_an_empty_size():
    motion = Motion.begin(Box(0, 0, 80, 200), 0.0).at(0.1).seen(Box(30, 80, 20, 40))
    left, top, right, bottom = motion.at(5.0).corners
    assert left < right
    assert top < bottom


def test_overlap_computed_by_hand():
    tracks = np.array([[0.0, 0.0, 2.0, 2.0]])
    boxes = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 0.0, 7.0, 2.0]])
    np.testing.assert_allclose(widened_iou(tracks, np.zeros(1), boxes), [[1 / 3, 0]])
    # Widened by 2, each box has a side of 6: they share 5 x 6 and 1 x 6 of it.
    np.testing.assert_allclose(widened_iou(tracks, np.full(1, 2.0), boxes), [[30 / 42, 6 / 66]])


def test_the_best_pairs_together_and_no_pair_that_is_not_allowed():
    likeness = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert best_pairs(likeness, np.ones((2, 2), bool)) == [(0, 1), (1, 0)]
    assert best_pairs(likeness, np.eye(2, dtype=bool)) == [(0, 0), (1, 1)]
    assert best_pairs(likeness, np.zeros((2, 2), bool)) == []
