"""Cycle agreement follows the labelled mAP, and no shortcut raises it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from training.measure.agreement import cycle_agreement, way_precisions

PEOPLE, CROPS, SIZE = 30, 4, 64
CAMERAS = np.tile(np.repeat([0, 1], CROPS), PEOPLE)
IDENTITIES = np.repeat(np.arange(PEOPLE), 2 * CROPS)
GROUPS = 2 * IDENTITIES + CAMERAS  # one direction per person and camera


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def drawn_embeddings(noise: float, seed: int = 0):
    """Identities as directions, their appearance in each camera, and noise."""
    rng = np.random.default_rng(seed)
    person = rng.normal(size=(PEOPLE, SIZE))[IDENTITIES]
    view = 0.8 * rng.normal(size=(2 * PEOPLE, SIZE))[GROUPS]
    return unit(person + view + noise * rng.normal(size=person.shape))


def cross_camera_map(embeddings) -> float:
    found = []
    for row, own in enumerate(CAMERAS):
        others = np.flatnonzero(own != CAMERAS)
        ranked = others[np.argsort(-embeddings[others] @ embeddings[row])]
        right = np.flatnonzero(IDENTITIES[ranked] == IDENTITIES[row])
        found.append(np.mean(np.arange(1, len(right) + 1) / (right + 1)))
    return float(np.mean(found))


def test_agreement_falls_with_the_labelled_map_step_by_step():
    family = [drawn_embeddings(noise) for noise in (0.2, 0.7, 1.0, 1.4, 1.8, 2.4, 3.2)]
    truth = [cross_camera_map(each) for each in family]
    assert truth[0] > 0.9
    assert truth[-1] < 0.4
    for groups in (GROUPS, None):
        found = [cycle_agreement(each, CAMERAS, groups) for each in family]
        assert spearmanr(truth, found).statistic > 0.9


def test_a_collapsed_or_random_network_scores_worse():
    good = cycle_agreement(drawn_embeddings(0.7), CAMERAS, GROUPS)
    rng = np.random.default_rng(1)
    constant = np.ones((len(CAMERAS), SIZE))
    bad = {
        "collapsed": unit(constant),
        "nearly collapsed": unit(constant + 1e-7 * rng.normal(size=constant.shape)),
        "two directions": unit(drawn_embeddings(0.7)[:, :2]),
        "random": unit(rng.normal(size=constant.shape)),
    }
    for name, embeddings in bad.items():
        assert cycle_agreement(embeddings, CAMERAS, GROUPS) < 0.4 * good, name


def test_merging_people_lowers_agreement():
    embeddings = drawn_embeddings(0.7)
    pairs = IDENTITIES // 2
    merged = unit(embeddings + 3 * np.stack([embeddings[pairs == p].mean(0) for p in pairs]))
    apart = unit(
        embeddings + 3 * np.stack([embeddings[i == IDENTITIES].mean(0) for i in IDENTITIES])
    )
    found = [cycle_agreement(each, CAMERAS, GROUPS) for each in (merged, apart)]
    assert found[0] < found[1]


def test_ties_count_as_wrong_and_the_crop_itself_does_not_count():
    same = np.ones((4, 2), dtype=np.float32) / np.sqrt(2).astype(np.float32)
    cameras = np.array([0, 0, 0, 1])
    groups = np.array([0, 0, 1, 2])
    # from crop 0 back: crop 2 first, as it is wrong, then crop 1
    assert way_precisions(same, cameras, groups) == pytest.approx([0.5, 0.5])


def test_ways_start_only_at_the_given_crops():
    embeddings = drawn_embeddings(0.7)
    starts = np.arange(len(CAMERAS)) % 5 == 0
    found = way_precisions(embeddings, CAMERAS, GROUPS, starts)
    assert len(found) == starts.sum()
    assert cycle_agreement(embeddings, CAMERAS, GROUPS, starts) == pytest.approx(found.mean())


def test_one_camera_or_no_group_of_two_has_no_agreement():
    embeddings = drawn_embeddings(0.7)
    assert cycle_agreement(embeddings, np.zeros_like(CAMERAS)) is None
    assert cycle_agreement(embeddings, CAMERAS, np.full_like(CAMERAS, -1)) is None
    assert cycle_agreement(embeddings[:0], CAMERAS[:0]) is None
