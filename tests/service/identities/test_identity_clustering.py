"""Clustering crops into persons: what it may change, and how it names groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gallery.base import Crop
from service.identities.clustering import ClusterRule, group_crops, is_free, standardise
from service.identities.names import fresh_names, name_groups

RULE = ClusterRule(min_score=0.4)


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(count: int, crops: int = 8, spread: float = 0.5, seed: int = 0):
    """Crops and embeddings of well separated people; crop ids name the person."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 32))
    who = np.repeat(np.arange(count), crops)
    rows = units(centres[who] + spread * rng.normal(size=(len(who), 32)))
    ids = [f"{person:02d}-{i % crops}" for i, person in enumerate(who)]
    return [Crop(crop_id, camera=f"c{i % 2}") for i, crop_id in enumerate(ids)], rows


def grouped(crops, rows, rule=RULE):
    known = {crop.identity for crop in crops if crop.identity is not None}
    return group_crops(crops, rows, rule, known)


def applied(crops, grouping):
    return [
        replace(crop, identity=grouping.labels[crop.crop_id], origin="cluster")
        if crop.crop_id in grouping.labels
        else crop
        for crop in crops
    ]


def partition(crops):
    groups: dict[str | None, set[str]] = {}
    for crop in crops:
        groups.setdefault(crop.identity, set()).add(crop.crop_id)
    return groups


def test_each_person_gets_a_group_with_a_name_of_its_own():
    crops, rows = people(12)
    grouping = grouped(crops, rows)
    assert (grouping.persons, grouping.grouped, grouping.outliers) == (12, 96, 0)
    groups = partition(applied(crops, grouping))
    assert sorted(groups) == [f"person-{number:04d}" for number in range(1, 13)]
    assert all(len({crop_id[:2] for crop_id in ids}) == 1 for ids in groups.values())


def test_a_crop_far_from_all_others_gets_no_identity():
    crops, rows = people(12)
    stranger = units(np.random.default_rng(9).normal(size=(1, 32)))
    rows = np.concatenate([rows, stranger])
    grouping = grouped([*crops, Crop("stranger")], rows)
    assert grouping.labels["stranger"] is None
    assert (grouping.persons, grouping.outliers) == (12, 1)


def test_a_group_takes_the_identity_of_its_labelled_crop_and_labels_never_change():
    crops, rows = people(12)
    crops[0] = replace(crops[0], identity="anna")
    crops[9] = replace(crops[9], identity="ben", origin="hand")
    grouping = grouped(crops, rows)
    assert {"00-0", "01-1"}.isdisjoint(grouping.labels)
    groups = partition(applied(crops, grouping))
    assert groups["anna"] == {f"00-{i}" for i in range(8)}
    assert groups["ben"] == {f"01-{i}" for i in range(8)}
    assert (grouping.persons, grouping.grouped) == (12, 94)


def test_two_identities_in_one_cluster_split_it_instead_of_merging():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=32), rng.normal(size=32)
    way = np.linspace(0.0, 1.0, 24)[:, None]
    rows = units((1 - way) * one + way * other)  # an unbroken chain of similar crops
    crops = [Crop(f"{i:02d}") for i in range(24)]
    assert grouped(crops, rows).persons == 1
    crops[0] = replace(crops[0], identity="anna", origin="hand")
    crops[23] = replace(crops[23], identity="ben", origin="hand")
    groups = partition(applied(crops, grouped(crops, rows)))
    assert set(groups) == {"anna", "ben"}
    for crop, row in zip(crops, rows, strict=True):
        nearer = "anna" if row @ rows[0] > row @ rows[23] else "ben"
        assert crop.crop_id in groups[nearer]


def test_a_crop_labelled_as_nobody_is_left_out():
    crops, rows = people(12)
    crops[0] = replace(crops[0], identity=None, origin="hand")
    grouping = grouped(crops, rows)
    assert "00-0" not in grouping.labels
    assert (grouping.persons, grouping.grouped) == (12, 95)


def test_names_stay_when_crops_come_and_go():
    crops, rows = people(12)
    before = applied(crops, grouped(crops, rows))
    order = np.random.default_rng(1).permutation(len(crops))
    kept = sorted(order[:80])  # some are deleted
    more, their_rows = people(16, crops=10)
    new = [i for i, crop in enumerate(more) if crop.crop_id not in {c.crop_id for c in before}]
    now = [before[i] for i in kept] + [more[i] for i in new]
    embeddings = np.concatenate([rows[kept], their_rows[new]])
    after = {crop.crop_id: crop.identity for crop in applied(now, grouped(now, embeddings))}
    same = [crop for crop in before if crop.crop_id in after]
    assert all(after[crop.crop_id] == crop.identity for crop in same)
    fresh = set(after.values()) - {crop.identity for crop in before}
    assert fresh
    assert min(fresh) == "person-0013"  # numbers are not reused


def test_clustering_twice_changes_nothing():
    crops, rows = people(12, spread=0.9)
    once = grouped(crops, rows)
    again = applied(crops, once)
    assert grouped(again, rows) == replace(once, labels=dict(once.labels))


def test_an_empty_gallery_has_no_persons():
    grouping = grouped([], np.empty((0, 32), np.float32))
    assert (grouping.labels, grouping.persons) == ({}, 0)


def test_one_crop_is_an_outlier():
    grouping = grouped([Crop("a")], units(np.ones((1, 32))))
    assert grouping.labels == {"a": None}


def test_the_name_goes_to_the_group_with_most_of_its_crops():
    former = [["a", "a", "b"], ["a", "a", "a"], ["b"], []]
    assert name_groups(former, {"a", "b"}, pinned=set()) == [
        "b",
        "a",
        "person-0001",
        "person-0002",
    ]


def test_a_group_without_labelled_crops_never_takes_a_labelled_name():
    assert name_groups([["anna"] * 5], {"anna"}, pinned={"anna"}) == ["person-0001"]


def test_fresh_names_come_after_all_that_are_in_use():
    known = {"person-0007", "anna", "person-12345", "person-x", "person-00000000000000000000001"}
    names = fresh_names(known)
    assert [next(names), next(names)] == ["person-12346", "person-12347"]


names = st.sampled_from(["a", "b", "c", "d"])


@settings(deadline=None)
@given(former=st.lists(st.lists(names, max_size=6), max_size=6), pinned=st.sets(names))
def test_no_two_groups_share_a_name_and_none_is_pinned(former, pinned):
    chosen = name_groups(former, {"a", "b", "c", "d"}, pinned=pinned)
    assert len(set(chosen)) == len(former)
    assert pinned.isdisjoint(chosen)


@pytest.mark.parametrize(
    ("crop", "free"),
    [
        (Crop("x"), True),
        (Crop("x", "anna"), False),
        (Crop("x", "person-0001", origin="cluster"), True),
        (Crop("x", None, origin="cluster"), True),
        (Crop("x", "anna", origin="hand"), False),
        (Crop("x", None, origin="hand"), False),
    ],
)
def test_which_crops_are_free(crop, free):
    assert is_free(crop) is free


def test_standardising_brings_cameras_together():
    crops, rows = people(24, crops=12)
    shift = np.random.default_rng(5).normal(size=(2, 32))
    cameras = np.array([int(crop.camera[1]) for crop in crops])
    seen = units(rows + 0.15 * shift[cameras])
    rows, standardised = standardise(crops, seen)
    assert standardised
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(crops)), abs=1e-5)
    assert grouped(crops, seen, ClusterRule()).persons == 24
    assert grouped(crops, seen, ClusterRule(standardise=False)).persons > 24


def test_few_crops_are_not_standardised():
    crops, rows = people(4)
    same, standardised = standardise(crops, rows)
    assert not standardised
    assert np.array_equal(same, rows)
