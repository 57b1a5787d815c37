"""Bad pictures are dropped, and the gate says why."""

from __future__ import annotations

import dataclasses

import pytest

from service.tracking.gate import Gate, GateOptions
from service.values.quality import Quality

GOOD = Quality(height=150.0, sharpness=0.5, cut_off=0.0, covered=0.1, score=0.7)
BAD = [
    ({"height": 30.0}, "too_small"),
    ({"sharpness": 0.1}, "blurred"),
    ({"cut_off": 0.6}, "cut_off"),
    ({"covered": 0.8}, "covered"),
    ({"score": 0.2}, "low_score"),
]


def test_a_good_picture_passes():
    gate = Gate()
    assert gate.check(GOOD) is None
    assert gate.check(dataclasses.replace(GOOD, score=None)) is None
    assert (gate.passed, sum(gate.dropped.values())) == (2, 0)


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_bad_picture_is_dropped_and_counted(change, reason):
    gate = Gate()
    assert gate.check(dataclasses.replace(GOOD, **change)) == reason
    assert gate.dropped[reason] == 1
    assert gate.passed == 0


def test_thresholds_are_options_and_a_value_at_them_passes():
    gate = Gate(GateOptions(height=150.0, sharpness=0.5, cut_off=0.0, covered=0.1, score=0.7))
    assert gate.check(GOOD) is None
    assert gate.check(dataclasses.replace(GOOD, height=149.9)) == "too_small"


def test_two_weaknesses_are_too_much_together():
    small, blurred = {"height": 90.0}, {"sharpness": 0.35}
    assert Gate().check(dataclasses.replace(GOOD, **small)) is None
    assert Gate().check(dataclasses.replace(GOOD, **blurred)) is None
    assert Gate().check(dataclasses.replace(GOOD, **small, **blurred)) == "blurred"
    assert Gate(GateOptions(value=0.3)).check(dataclasses.replace(GOOD, **small, **blurred)) is None


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_every_weakness_lowers_the_value_and_is_named(change, reason):
    weak = dataclasses.replace(GOOD, **change)
    assert 0.0 <= weak.value < GOOD.value <= 1.0
    assert weak.weakness == reason
