"""What a calibrated score says about pairs of two people."""

from __future__ import annotations

import numpy as np
import pytest

from service.alerts.thresholds import threshold
from service.values.accuracy import Calibration


def calibration(slope: float | None = 12.0, intercept: float | None = -5.3) -> Calibration:
    return Calibration(
        slope=slope,
        intercept=intercept,
        threshold=0.5,
        false_match_rate=0.01,
        true_match_rate=None if slope is None else 0.8,
        genuine_pairs=0 if slope is None else 100,
        impostor_pairs=1000,
        data="made up",
    )


def test_a_rate_is_the_better_of_two_bounds():
    known = calibration()
    assert known.false_alert_rate(-1.0) == 1.0
    assert known.false_alert_rate(0.46) == pytest.approx(np.exp(5.3 - 12 * 0.46))
    assert known.false_alert_rate(0.5) == 0.01  # measured, and less than exp(-0.7)
    assert known.false_alert_rate(0.9) == pytest.approx(np.exp(5.3 - 12 * 0.9))


def test_without_genuine_pairs_only_the_threshold_is_known():
    unlabelled = calibration(None, None)
    assert [unlabelled.false_alert_rate(score) for score in (0.49, 0.5, 1.0)] == [1.0, 0.01, 0.01]


def test_it_never_rises_with_the_score_and_no_slope_overflows():
    for known in (calibration(), calibration(1e6, -1e6), calibration(1e300, 1e300)):
        rates = [known.false_alert_rate(score) for score in np.linspace(-1, 1, 401)]
        assert rates == sorted(rates, reverse=True)
        assert 0.0 <= rates[-1] <= rates[0] <= 1.0


@pytest.mark.parametrize("rate", [0.5, 0.02, 0.01, 0.009, 0.005, 0.0013])
def test_a_watch_that_keeps_a_rate_looks_for_scores_that_keep_it(rate):
    known = calibration()
    least = threshold(None, rate, known)
    assert known.false_alert_rate(least) <= rate * (1 + 1e-12)


def test_the_bound_holds_for_scores_of_which_the_calibration_is_true():
    """Two normal distributions with one width: their odds are exactly a logistic curve."""
    strangers, same, width = 0.2, 0.6, 0.15
    slope = (same - strangers) / width**2
    known = calibration(slope, -slope * (same + strangers) / 2)
    scores = np.random.default_rng(0).normal(strangers, width, 200_000)
    for score in np.linspace(0.3, 0.45, 7):
        assert (scores >= score).mean() <= known.false_alert_rate(score)
