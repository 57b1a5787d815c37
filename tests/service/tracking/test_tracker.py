"""Persons keep their names from frame to frame, at any rate of frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.tracking.options import TrackerOptions
from service.tracking.tracker import Tracker, prefix_of
from service.values.boxes import Box

HEIGHT = 200.0
SPEED = 150.0  # 0.75 heights per second: a person who walks


def person(x: float, y: float = 300.0, height: float = HEIGHT) -> Box:
    """A box of the usual shape around a centre."""
    width = 0.4 * height
    return Box(x - width / 2, y - height / 2, width, height)


def follow(tracker: Tracker, times, *paths, scores=None) -> list[list[str | None]]:
    """Names per path; a path gives the centre at a time, or None while nobody sees the person."""
    names: list[list[str | None]] = [[] for _ in paths]
    for number, seconds in enumerate(times):
        seen = [(place, path(seconds)) for place, path in enumerate(paths)]
        there = [(place, x) for place, x in seen if x is not None]
        score = 0.8 if scores is None else scores[number]
        found = tracker.update(seconds, [person(x) for _, x in there], [score] * len(there))
        for (place, _), name in zip(there, found, strict=True):
            names[place].append(name)
    return names


def steps(rate: float, seconds: float) -> list[float]:
    return [number / rate for number in range(round(rate * seconds))]


def test_a_person_gets_a_name_on_the_second_frame_and_keeps_it():
    (names,) = follow(Tracker("c1-"), steps(5, 3), lambda t: 100 + SPEED * t)
    assert names == [None] + ["c1-1"] * 14


@pytest.mark.parametrize("rate", [2, 5, 15])
def test_people_who_cross_keep_their_names(rate):
    names = follow(
        Tracker(""),
        steps(rate, 6),
        lambda t: 100 + SPEED * t,
        lambda t: 1000 - SPEED * t,
    )
    assert [set(own[1:]) for own in names] == [{"1"}, {"2"}]


def test_who_walks_behind_something_is_the_same_afterwards():
    def path(t: float) -> float | None:
        return None if 1.5 < t < 3.0 else 100 + SPEED * t

    (names,) = follow(Tracker(""), steps(5, 5), path)
    assert set(names[1:]) == {"1"}


def test_a_track_ends_after_its_gap_in_seconds():
    def path(t: float) -> float | None:
        return None if 1.0 < t < 4.0 else 300.0

    for rate in (2, 10):
        (names,) = follow(Tracker(""), steps(rate, 6), path)
        assert names[-1] == "2"


def test_frames_without_anybody_end_a_track_as_missing_frames_do():
    busy, idle = Tracker(""), Tracker("")
    for tracker in (busy, idle):
        follow(tracker, [0.0, 0.2], lambda t: 300.0)
    follow(busy, [0.4, 0.8, 1.6], lambda t: None)
    assert follow(busy, [2.1, 2.5], lambda t: 300.0) == follow(idle, [2.1, 2.5], lambda t: 300.0)


def test_low_scores_continue_a_track_and_begin_none():
    scores = [0.8] * 5 + [0.35] * 10 + [0.8] * 5
    (names,) = follow(Tracker(""), steps(5, 4), lambda t: 100 + SPEED * t, scores=scores)
    assert set(names[1:]) == {"1"}
    (names,) = follow(Tracker(""), steps(5, 2), lambda t: 300.0, scores=[0.35] * 10)
    assert set(names) == {None}


def test_scores_below_the_low_one_are_ignored():
    (names,) = follow(Tracker(""), steps(5, 1), lambda t: 300.0, scores=[0.8, 0.8, 0.1, 0.1, 0.1])
    assert names == [None, "1", None, None, None]


def test_an_irregular_clock():
    times = [0.0, 0.1, 0.9, 1.0, 1.05, 1.05, 1.8, 2.9, 3.0, 4.2]
    (names,) = follow(Tracker(""), times, lambda t: 100 + SPEED * t)
    assert set(names[1:]) == {"1"}


def test_a_single_false_alarm_gets_no_name():
    (names,) = follow(Tracker(""), steps(5, 4), lambda t: 300.0 if t in {0.0, 2.0} else None)
    assert names == [None, None]


def test_embeddings_tell_who_is_who_when_the_places_do_not():
    one, two = np.eye(2, dtype=np.float32)
    for appearance, expected in ((0.5, ["2", "1"]), (0.0, ["1", "2"])):
        tracker = Tracker("", TrackerOptions(appearance=appearance))
        for seconds in (0.0, 0.5, 1.0):
            tracker.update(seconds, [person(300), person(340)], [0.8] * 2, np.stack([one, two]))
        swapped = tracker.update(1.5, [person(300), person(340)], [0.8] * 2, np.stack([two, one]))
        assert swapped == expected


def test_time_that_goes_back_is_an_error_and_changes_nothing():
    tracker = Tracker("")
    follow(tracker, [10.0, 10.2], lambda t: 300.0)
    with pytest.raises(InvalidInput, match=r"9\.900 s came after that of 10\.200 s"):
        tracker.update(9.9, [person(300)], [0.8])
    with pytest.raises(InvalidInput, match="finite"):
        tracker.update(math.nan, [], [])
    assert tracker.update(10.4, [person(300)], [0.8]) == ["1"]


def test_a_restart_accepts_any_time_and_uses_no_name_again():
    tracker = Tracker("")
    follow(tracker, [10.0, 10.2], lambda t: 300.0)
    tracker.restart()
    assert follow(tracker, [5.0, 5.2], lambda t: 300.0) == [[None, "2"]]


def test_while_there_are_too_many_tracks_none_begins():
    tracker = Tracker("", TrackerOptions(most=2))
    boxes = [person(x) for x in (100, 400, 700)]
    tracker.update(0.0, boxes, [0.6, 0.7, 0.8])
    assert tracker.update(0.2, boxes, [0.6, 0.7, 0.8]) == [None, "1", "2"]


def test_names_of_trackers_that_begin_at_different_times_differ():
    assert prefix_of(1767614400.0) == "20260105T120000.000Z-"
    assert prefix_of(1767614400.25) == "20260105T120000.250Z-"


def test_lists_of_different_lengths_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="1 boxes with 2 scores"):
        Tracker("").update(0.0, [person(1)], [0.5, 0.5])
    with pytest.raises(ValueError, match="finite"):
        Tracker("").update(0.0, [person(math.inf)], [0.5])


@pytest.mark.parametrize(
    "wrong", [{"low": 0.5}, {"start": 1.1}, {"overlap": -0.1}, {"hits": 0}, {"gap": 0.0}]
)
def test_options_that_make_no_sense_are_rejected(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
        TrackerOptions(**wrong)


_places = st.floats(-50, 2000)
_boxes = st.builds(Box, _places, _places, st.floats(0.1, 900), st.floats(0.1, 900))
_frames = st.lists(
    st.tuples(
        st.floats(0.0, 3.0), st.lists(st.tuples(_boxes, st.floats(0, 1)), max_size=5, min_size=0)
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(frames=_frames)
def test_names_on_a_frame_differ_and_equal_frames_give_equal_names(frames):
    answers = []
    for _ in range(2):
        tracker, now, names = Tracker(""), 0.0, []
        for step, found in frames:
            now += step
            names.append(tracker.update(now, [b for b, _ in found], [s for _, s in found]))
        answers.append(names)
    assert answers[0] == answers[1]
    for names in answers[0]:
        given_names = [name for name in names if name is not None]
        assert len(set(given_names)) == len(given_names)
