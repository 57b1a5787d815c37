"""Of many pictures of a track, the best few are kept, and handed out in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.tracking.thinning import Thinner, ThinningOptions

ALWAYS = ThinningOptions(most=3, window=10.0, gap=2.0, alike=0.97)


def unit(degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.array([np.cos(radians), np.sin(radians)], dtype=np.float32)


def test_the_best_is_kept_and_the_others_are_spread():
    thinner = Thinner[int](ALWAYS)
    for number in range(50):
        thinner.add("a", number, 0.9 if number == 17 else 0.5, number / 10)
    kept = thinner.flush()
    assert 17 in [one.item for one in kept]
    times = [one.seconds for one in kept]
    assert len(kept) == 3
    assert times == sorted(times)
    assert min(np.diff(times)) > 0.8
    assert (thinner.added, thinner.dropped) == (50, 47)


def test_pictures_come_out_when_the_track_has_ended():
    thinner = Thinner[str](ALWAYS)
    thinner.add("a", "first", 0.5, 0.0)
    thinner.add("b", "other", 0.5, 1.9)
    assert thinner.finished(2.0) == []
    assert [one.item for one in thinner.finished(2.1)] == ["first"]
    assert thinner.finished(2.2) == []
    assert [one.item for one in thinner.flush()] == ["other"]


def test_who_stands_for_an_hour_does_not_wait_for_it():
    thinner = Thinner[int](ALWAYS)
    handed_out = []
    for number in range(2 * 60):
        thinner.add("a", number, 0.5, number / 2)
        handed_out.append(len(thinner.finished(number / 2)))
    assert sum(handed_out[:21]) == 3
    assert sum(handed_out) + len(thinner.flush()) == 18


def test_pictures_that_look_the_same_become_the_best_of_them():
    thinner = Thinner[str](ALWAYS)
    thinner.add("a", "worse", 0.4, 0.0, unit(0))
    thinner.add("a", "better", 0.6, 1.0, unit(2))
    thinner.add("a", "from behind", 0.5, 2.0, unit(60))
    thinner.add("b", "somebody else", 0.5, 2.0, unit(2))
    assert [one.item for one in thinner.flush()] == ["better", "from behind", "somebody else"]
    assert thinner.dropped == 1


def test_a_different_look_is_kept_before_another_of_the_same():
    thinner = Thinner[str](ALWAYS)
    for number, degrees in enumerate([0, 30, 30, 30, 70]):
        thinner.add("a", f"{degrees} at {number}", 0.5, number / 5, unit(degrees))
    kept = {one.item.split()[0] for one in thinner.flush()}
    assert kept == {"0", "30", "70"}


def test_a_clock_that_was_set_back_keeps_nobody_waiting():
    thinner = Thinner[str](ALWAYS)
    thinner.add("a", "before", 0.5, 7200.0)
    assert [one.item for one in thinner.finished(3600.0)] == ["before"]


@pytest.mark.parametrize("wrong", [{"most": 0}, {"window": 0.0}, {"gap": -1.0}, {"alike": 1.5}])
def test_options_that_make_no_sense_are_rejected(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
        ThinningOptions(**wrong)


@settings(max_examples=60, deadline=None)
@given(
    pictures=st.lists(
        st.tuples(st.sampled_from("ab"), st.floats(0, 1), st.floats(0, 0.4)), max_size=40
    ),
    most=st.integers(1, 4),
)
def test_each_window_keeps_its_best_and_no_picture_is_lost(pictures, most):
    thinner = Thinner[int](ThinningOptions(most=most, window=1000.0, gap=1000.0))
    now, best = 0.0, dict.fromkeys("ab", -1.0)
    for number, (track, quality, step) in enumerate(pictures):
        now += step
        best[track] = max(best[track], quality)
        thinner.add(track, number, quality, now)
    kept = thinner.flush()
    assert len(kept) + thinner.dropped == len(pictures)
    for track in {track for track, _, _ in pictures}:
        own = [one.quality for one in kept if one.track == track]
        assert len(own) <= most
        assert max(own) == best[track]
