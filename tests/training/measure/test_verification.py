"""Verification of pairs that tracks and frames know, against scikit-learn and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.measure.verification import verify_known_pairs

NONE = -1


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def film(noise: float, people: int = 6, frames: int = 8, seed: int = 0):
    """Everybody in every frame, each with one track."""
    rng = np.random.default_rng(seed)
    track, frame = (each.ravel() for each in np.mgrid[:people, :frames])
    person = rng.normal(size=(people, 16))[track]
    return unit(person + noise * rng.normal(size=person.shape)), track, frame


def auc_by_hand(embeddings, tracks, frames) -> float:
    met = {
        frozenset((tracks[i], tracks[j]))
        for i, j in combinations(range(len(tracks)), 2)
        if frames[i] == frames[j] != NONE and tracks[i] != tracks[j]
    }
    truth, scores = [], []
    for i, j in combinations(range(len(tracks)), 2):
        same = tracks[i] == tracks[j] != NONE
        one_frame = frames[i] == frames[j] != NONE
        met_once = NONE not in {tracks[i], tracks[j]} and {tracks[i], tracks[j]} in met
        if same or one_frame or met_once:
            truth.append(same)
            scores.append(embeddings[i] @ embeddings[j])
    return roc_auc_score(truth, scores)


@pytest.mark.parametrize("noise", [0.2, 1.0, 3.0])
def test_it_is_the_area_under_the_roc_curve_of_the_known_pairs(noise):
    embeddings, tracks, frames = film(noise)
    rng = np.random.default_rng(1)
    tracks[rng.random(len(tracks)) < 0.2] = NONE
    frames[rng.random(len(frames)) < 0.3] = NONE
    found = verify_known_pairs(embeddings, tracks, frames)
    assert found == pytest.approx(auc_by_hand(embeddings, tracks, frames), abs=1e-6)


def test_it_falls_with_noise_and_chance_is_a_half():
    found = [verify_known_pairs(*film(noise)) for noise in (0.1, 1.0, 2.0, 4.0, 1000.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(0.5, abs=0.1)


def test_a_collapsed_network_is_at_chance():
    _, tracks, frames = film(0.1)
    same = np.tile(unit(np.ones((1, 16))), (len(tracks), 1))
    assert verify_known_pairs(same, tracks, frames) == 0.5


def test_two_tracks_that_met_once_are_two_people_in_every_frame():
    directions = unit(np.array([[1, 0.0], [1, 0.1], [0, 1.0], [0.1, 1.0]]))
    tracks = np.array([0, 0, 1, 1])
    met = np.array([0, 1, 1, 2])  # crop 1 of track 0 and crop 2 of track 1 are of frame 1
    assert verify_known_pairs(directions, tracks, met) == 1.0
    swapped = np.array([0, 1, 0, 1])  # cosines 0 and 0.2; of other people 1, 1, 0.1 and 0.1
    assert verify_known_pairs(directions, swapped, met) == pytest.approx(0.25)


def test_a_track_that_is_twice_in_one_frame_is_still_one_person():
    embeddings, tracks, frames = film(0.1, people=2)
    frames[1] = frames[0]  # a tracker's mistake
    assert verify_known_pairs(embeddings, tracks, frames) == 1.0


@pytest.mark.parametrize("lacking", ["tracks", "frames", "both", "several people"])
def test_without_a_pair_of_each_kind_there_is_nothing_to_measure(lacking):
    embeddings, tracks, frames = film(0.1)
    nothing = np.full(len(tracks), NONE)
    given = {
        "tracks": (nothing, frames),
        "frames": (tracks, nothing),
        "both": (nothing, nothing),
        "several people": (tracks, np.arange(len(tracks))),
    }[lacking]
    assert verify_known_pairs(embeddings, *given) is None
    assert verify_known_pairs(embeddings[:0], tracks[:0], frames[:0]) is None
