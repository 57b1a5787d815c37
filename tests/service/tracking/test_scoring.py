"""The scores of tracks, computed by hand."""

from __future__ import annotations

import pytest

from service.tracking.scoring import Scene, score
from service.values.boxes import Box

LEFT, RIGHT, NOWHERE = Box(0, 0, 40, 100), Box(200, 0, 40, 100), Box(600, 0, 40, 100)


def scores(*frames):
    return score([Scene(truth, said) for truth, said in frames])


def test_perfect_tracks():
    both = {"a": LEFT, "b": RIGHT}
    result = scores(*[(both, {"1": LEFT, "2": RIGHT})] * 4)
    assert (result.idf1, result.switches, result.fragments) == (1.0, 0, 0)
    assert (result.recall, result.precision, result.people, result.names) == (1.0, 1.0, 2, 2)


def test_a_name_that_changes_is_a_switch_and_half_of_it_is_wrong():
    result = scores(*[({"a": LEFT}, {"1": LEFT})] * 3, *[({"a": LEFT}, {"2": LEFT})] * 3)
    assert (result.idf1, result.switches, result.fragments) == (0.5, 1, 0)


def test_who_is_lost_and_found_by_the_same_name_is_a_fragment():
    seen, lost = ({"a": LEFT}, {"1": LEFT}), ({"a": LEFT}, {})
    result = scores(seen, lost, lost, seen, lost)
    assert (result.switches, result.fragments, result.recall) == (0, 1, pytest.approx(2 / 5))
    assert result.idf1 == pytest.approx(2 * 2 / (5 + 2))


def test_who_is_out_of_sight_is_not_lost():
    seen = ({"a": LEFT}, {"1": LEFT})
    assert scores(seen, ({}, {}), seen).fragments == 0


def test_a_name_on_nobody_costs_precision():
    result = scores(({"a": LEFT}, {"1": LEFT, "2": NOWHERE}))
    assert (result.recall, result.precision) == (1.0, 0.5)
    assert result.idf1 == pytest.approx(2 / 3)


def test_two_people_who_exchange_their_names():
    both = {"a": LEFT, "b": RIGHT}
    result = scores(*[(both, {"1": LEFT, "2": RIGHT})] * 3, (both, {"2": LEFT, "1": RIGHT}))
    assert (result.switches, result.idf1) == (2, 0.75)


def test_a_name_is_on_one_person_at_a_time():
    beside = Box(10, 0, 40, 100)
    alone = [({"a": LEFT}, {"1": LEFT}), ({"b": LEFT}, {"1": LEFT})]
    result = scores(*alone, ({"a": LEFT, "b": beside}, {"1": LEFT}))
    assert (result.recall, result.precision) == (pytest.approx(3 / 4), 1.0)
