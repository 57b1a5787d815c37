"""Clustering with tracks: a track is one person, and one camera sees a person once at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gallery.base import Crop
from service.gallery.tracks import Span, spans_of
from service.identities.clustering import group_crops
from service.values.cluster_rule import ClusterRule

RULE = ClusterRule(min_score=0.4, standardise=False)


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(count: int, crops: int = 8, spread: float = 0.5):
    """Crops and embeddings of well separated people, all at one time, without tracks."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(count), crops)
    rows = units(rng.normal(size=(count, 32))[who] + spread * rng.normal(size=(len(who), 32)))
    made = [
        Crop(f"{person:02d}-{i % crops}", camera="c1", timestamp=float(i % crops))
        for i, person in enumerate(who)
    ]
    return made, rows


def groups(crops, rows, rule=RULE):
    """The identity of each crop after a clustering, by id."""
    known = {crop.identity for crop in crops if crop.identity is not None}
    labels = group_crops(crops, rows, rule, known).labels
    return {crop.crop_id: labels.get(crop.crop_id, crop.identity) for crop in crops}


def tracked(crops, places, track, **more):
    """The crops, of which some are of one track."""
    return [
        replace(crop, track=track, **more) if i in places else crop for i, crop in enumerate(crops)
    ]


def test_a_track_is_one_group_however_its_crops_look():
    crops, rows = people(12)
    walk = {0, 1, 8, 9}  # of two people who look different
    found = groups(tracked(crops, walk, "1"), rows)
    assert len({found[crops[i].crop_id] for i in walk}) == 1
    assert len({found[crops[i].crop_id] for i in range(16)}) == 2  # the track merges nobody
    assert len(set(found.values())) == 12
    assert None not in found.values()


def test_a_track_far_from_everybody_is_a_group_and_a_single_crop_is_none():
    crops, rows = people(3)
    far = units(np.random.default_rng(9).normal(size=(3, 32)))
    lone = [Crop("a", camera="c1", track="1"), Crop("b", camera="c1", track="1"), Crop("c")]
    found = groups([*crops, *lone], np.concatenate([rows, far]))
    assert found["a"] == found["b"] is not None
    assert found["c"] is None


def test_equal_numbers_of_two_cameras_are_two_tracks():
    crops, rows = people(2)
    crops = tracked(tracked(crops, range(8), "1"), range(8, 16), "1", camera="c2")
    found = groups(crops, rows)
    assert found["00-0"] != found["01-0"]


@pytest.mark.parametrize("min_samples", [2, 4])
def test_two_tracks_at_one_time_are_two_people(min_samples):
    crops, rows = people(4, crops=16)
    crops = tracked(crops, range(8), "1")  # the first person's crops, of two tracks
    crops = tracked(crops, range(8, 16), "2")
    crops = [replace(crop, timestamp=float(i % 8)) for i, crop in enumerate(crops)]
    found = groups(crops, rows, replace(RULE, min_samples=min_samples))
    one, other = ({found[crops[i].crop_id] for i in part} for part in (range(8), range(8, 16)))
    assert (len(one), len(other)) == (1, 1)
    assert one != other
    apart = [replace(crop, timestamp=float(i)) for i, crop in enumerate(crops)]
    assert len({found for crop_id, found in groups(apart, rows).items() if crop_id < "01"}) == 1


def test_a_labelled_person_does_not_get_the_track_that_the_camera_saw_elsewhere():
    crops, rows = people(4)
    crops = tracked(tracked(crops, range(4), "1"), range(4, 8), "2")
    crops = [replace(crop, timestamp=float(i % 4)) for i, crop in enumerate(crops)]
    crops[0] = replace(crops[0], identity="ada", origin="hand")
    found = groups(crops, rows)
    assert {found[f"00-{i}"] for i in range(4)} == {"ada"}
    assert "ada" not in {found[f"00-{i}"] for i in range(4, 8)}
    later = [replace(crop, timestamp=float(i)) for i, crop in enumerate(crops)]
    assert {groups(later, rows)[f"00-{i}"] for i in range(8)} == {"ada"}


def test_a_track_with_a_labelled_crop_is_that_person_even_if_others_are_nearer():
    crops, rows = people(2)
    crops = tracked(crops, range(7, 9), "1")  # the last crop of one person, the first of the other
    crops[0] = replace(crops[0], identity="ada", origin="hand")
    crops[8] = replace(crops[8], identity="bob", origin="hand")
    found = groups(crops, rows)
    assert found["00-7"] == "bob"
    assert found["00-1"] == "ada"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_group_holds_two_tracks_that_met_and_no_track_is_in_two(seed):
    rng = np.random.default_rng(seed)
    rows = units(rng.normal(size=(3, 8))[rng.integers(3, size=40)] + 0.4 * rng.normal(size=(40, 8)))
    crops = [
        Crop(
            f"{i:02d}",
            camera=[None, "c1", "c2"][rng.integers(3)],
            timestamp=[None, *map(float, range(30))][rng.integers(31)],
            track=[None, *map(str, range(12))][rng.integers(13)],
        )
        for i in range(40)
    ]
    found = groups(crops, rows)
    named: dict[str, list[Crop]] = {}
    for crop in crops:
        if crop.track is not None:
            track = f"{crop.camera}/{crop.track}"
            named.setdefault(track, []).append(crop)
    for walk in named.values():
        assert len({found[crop.crop_id] for crop in walk}) == 1
    for group in {name for name in found.values() if name is not None}:
        spans = spans_of(crop for crop in crops if found[crop.crop_id] == group)
        assert not any(a.meets(b) for a in spans for b in spans)


def test_tracks_meet_if_one_begins_when_the_other_ends_but_not_on_two_cameras():
    walk = Span("c1", "1", 1.0, 2.0)
    assert walk.meets(Span("c1", "2", 2.0, 3.0))
    assert not walk.meets(Span("c1", "2", 2.5, 3.0))
    assert not walk.meets(Span("c2", "2", 1.0, 2.0))
    assert not walk.meets(Span("c1", "1", 1.0, 2.0))
