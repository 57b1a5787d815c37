"""benchmarks/epoch_profile.py: every second of an epoch counts to one part."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")


@pytest.fixture
def profile(import_benchmark):
    return import_benchmark("epoch_profile")


@pytest.fixture
def clock(profile, monkeypatch):
    """Seconds that pass only if a test says so."""
    now = [0.0]
    monkeypatch.setattr(profile.time, "perf_counter", lambda: now[0])
    return now


def test_a_part_has_its_time_without_the_parts_inside_it(profile, clock):
    watch = profile.Stopwatch()

    def inner():
        clock[0] += 2
        return "found"

    def outer():
        clock[0] += 1
        answer = watch.timed(inner, "inner")()
        clock[0] += 4
        return answer

    clock[0] += 100  # before any part: counts to none
    assert watch.timed(outer, "outer")() == "found"
    clock[0] += 100
    assert dict(watch.seconds) == {"outer": 5, "inner": 2}


def test_a_part_that_fails_still_counts_and_ends(profile, clock):
    watch = profile.Stopwatch()

    def fail():
        clock[0] += 3
        raise ValueError

    with watch.timing("around"):
        with pytest.raises(ValueError):
            watch.timed(fail, "failing")()
        clock[0] += 1
    assert dict(watch.seconds) == {"around": 1, "failing": 3}


def test_the_share_outside_is_what_is_not_the_networks_own(profile):
    seconds = {"embed all crops": 1.0, "forward": 2.0, "backward": 5.0, "cluster": 1.5, "loss": 0.5}
    assert profile.outside(seconds) == pytest.approx(0.2)
    assert profile.describe(seconds).endswith("outside the network's own passes: 20.0%")
