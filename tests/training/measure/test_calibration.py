"""Calibration on distributions with known answers, and against a slow loop."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from service.errors import InvalidInput
from training.data.datasets import Sample
from training.measure import calibration
from training.measure.calibration import NO_PAIRS, PairCounts, calibrate, count_pairs

STEPS = np.arange(-10_000, 10_001) / 10_000


def counts(mean: float, deviation: float, pairs: int) -> NDArray[np.int64]:
    """The expected number of pairs at every step of a normal distribution, without sampling."""
    edges = np.append(STEPS, 1.0001)
    return np.round(pairs * np.diff(norm.cdf(edges, mean, deviation))).astype(np.int64)


def pairs(genuine: list[float], impostor: list[float]) -> PairCounts:
    def count(cosines: list[float]) -> NDArray[np.int64]:
        return np.bincount([round(1e4 * c) + 10_000 for c in cosines], minlength=20_001)

    return PairCounts(count(genuine), count(impostor))


# So many that a step deep in a tail still holds a whole pair.
NORMAL = PairCounts(counts(0.6, 0.1, 10**12), counts(0.2, 0.1, 10**14))


def test_two_normal_distributions_give_the_textbook_curve() -> None:
    # Equal deviation s: slope (m1 - m0) / s^2, intercept -(m1^2 - m0^2) / 2 s^2, though there are a
    # hundred times as many impostor pairs.
    found = calibrate(NORMAL, "drawn")
    assert found.slope == pytest.approx(40, rel=1e-3)
    assert found.intercept == pytest.approx(-16, rel=1e-3)
    assert found.probability(0.4) == pytest.approx(0.5, abs=0.002)
    assert found.threshold == pytest.approx(0.2 + 0.1 * norm.isf(0.01), abs=2e-4)
    assert found.false_match_rate == pytest.approx(0.01, abs=1e-4)
    assert found.true_match_rate == pytest.approx(norm.sf(found.threshold, 0.6, 0.1), abs=1e-3)
    assert found.genuine_pairs == pytest.approx(10**12, rel=1e-3)
    assert found.data == "drawn"


def test_the_threshold_is_the_lowest_that_meets_the_rate() -> None:
    rng = np.random.default_rng(0)
    impostor = np.round(rng.normal(0.1, 0.2, 5000).clip(-1, 1), 4)
    genuine = np.round(rng.normal(0.7, 0.2, 300).clip(-1, 1), 4)
    found = calibrate(pairs(genuine.tolist(), impostor.tolist()), "drawn")
    assert found.false_match_rate == np.mean(impostor >= found.threshold) <= 0.01
    assert found.true_match_rate == np.mean(genuine >= found.threshold)
    assert np.mean(impostor >= found.threshold - 1.5e-4) > 0.01


def test_a_stricter_rate_raises_the_threshold_and_loses_genuine_pairs() -> None:
    found = [calibrate(NORMAL, "drawn", false_match_rate=rate) for rate in (0.1, 0.01, 0.001)]
    for loose, strict in itertools.pairwise(found):
        assert strict.threshold > loose.threshold
        assert strict.true_match_rate < loose.true_match_rate
        assert (strict.slope, strict.intercept) == (loose.slope, loose.intercept)


def test_pairs_that_do_not_overlap_still_give_a_finite_curve() -> None:
    found = calibrate(pairs([0.8, 0.9], [0.0, 0.1, 0.2]), "drawn")
    assert found.threshold == 0.2001
    assert (found.false_match_rate, found.true_match_rate) == (0, 1)
    # Platt's targets are 3/4 and 1/5: never certain after so few pairs.
    assert 0.6 < found.probability(0.85) < 0.9
    assert 0.1 < found.probability(0.1) < 0.3


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (NO_PAIRS, "0 genuine and 0 impostor"),
        (pairs([], [0.1]), "0 genuine and 1 impostor"),
        (pairs([0.1], []), "1 genuine and 0 impostor"),
        (pairs([0.1, 0.2], [0.6, 0.7]), "impostor pairs score as high"),
        (pairs([1.0, 1.0, 1.0], [0.0, 1.0]), "50.00% of the impostor pairs have cosine 1"),
    ],
)
def test_a_failed_calibration_says_why(broken: PairCounts, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        calibrate(broken, "drawn")


def draw(count: int, seed: int) -> tuple[NDArray[np.float32], list[Sample]]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = zip(rng.integers(-1, 4, count), rng.integers(0, 3, count), strict=True)
    return rows.astype(np.float32), [Sample(Path("x"), int(i), int(c)) for i, c in labels]


def count_slowly(
    rows: NDArray[np.float32], samples: list[Sample], searched: set[int]
) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    for (row, one), (other_row, other) in itertools.combinations(
        zip(rows, samples, strict=True), 2
    ):
        labels = {one.identity, other.identity}
        if one.camera != other.camera and min(labels) >= 0 and labels & searched:
            found[len(labels) - 1].append(float(row @ other_row))
    return found


@pytest.mark.parametrize("block", [1, 50, 1 << 22])
def test_counting_agrees_with_a_slow_loop(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_BLOCK_ELEMENTS", block)
    query_rows, query = draw(7, seed=1)
    gallery_rows, gallery = draw(40, seed=2)
    query = [Sample(q.path, q.identity or 1, q.camera) for q in query]  # 0 is a distractor here
    found = count_pairs(query_rows, query, gallery_rows, gallery)
    genuine, impostor = count_slowly(
        np.concatenate([query_rows, gallery_rows]),
        [*query, *gallery],
        {sample.identity for sample in query},
    )
    assert genuine
    assert impostor
    for counted, cosines in ((found.genuine, genuine), (found.impostor, impostor)):
        assert counted.sum() == len(cosines)
        np.testing.assert_allclose(
            np.repeat(STEPS, counted), np.sort(cosines), atol=1.01e-4, rtol=0
        )


def test_two_distractors_are_not_a_pair() -> None:
    rows = np.eye(3, 4, dtype=np.float32)
    query = [Sample(Path("q"), 5, 0)]
    gallery = [Sample(Path("a"), 0, 1), Sample(Path("b"), 0, 2)]
    found = count_pairs(rows[:1], query, rows[1:], gallery)
    assert (found.genuine.sum(), found.impostor.sum()) == (0, 2)


def test_one_camera_gives_no_pairs() -> None:
    rows = np.eye(2, 4, dtype=np.float32)
    alone = [Sample(Path("a"), 1, 0)]
    found = count_pairs(rows[:1], alone, rows[1:], alone)
    assert found.genuine.sum() == found.impostor.sum() == 0
    with pytest.raises(InvalidInput, match="across cameras"):
        calibrate(found, "one camera")


def test_a_cosine_at_a_step_is_counted_there() -> None:
    rows = np.array([[1, 0], [0.6, 0.8], [1, 0], [-1, 0]], np.float32)
    query = [Sample(Path("q"), 1, 0)]
    gallery = [Sample(Path("g"), identity, 1) for identity in (1, 2, 3)]
    found = count_pairs(rows[:1], query, rows[1:], gallery)
    assert np.flatnonzero(found.genuine).tolist() == [16_000]
    assert np.flatnonzero(found.impostor).tolist() == [0, 20_000]
