"""From which score on a watch takes two crops for the same person."""

from __future__ import annotations

import math

from service.errors import InvalidInput
from service.model.manifest import Calibration


def threshold(
    min_score: float | None, false_alert_rate: float | None, calibration: Calibration | None
) -> float:
    """Find the least score of a match.

    A rate is kept by a bound that holds for every distribution of scores: the calibrated odds are
    the ratio of two likelihoods, and of pairs that show two people at most a share r has a ratio of
    1/r or more. From the rate that was measured at the model's threshold on, that threshold does.

    Args:
        min_score: the least cosine, if it is given.
        false_alert_rate: the largest share of comparisons with other people that may match, above 0
            and below 1, if it is given.
        calibration: the model's, if it has one.

    Returns:
        A cosine, -1..1.

    Raises:
        InvalidInput: the model's calibration does not say it; the message says what does.
    """
    if min_score is not None:
        return min_score
    if calibration is None:
        raise InvalidInput("this gallery's model has no calibrated threshold: give min_score")
    if false_alert_rate is None:
        return calibration.threshold
    bounds = []
    if false_alert_rate >= calibration.false_match_rate:
        bounds.append(calibration.threshold)
    if calibration.slope is not None and calibration.intercept is not None:
        bounds.append((-math.log(false_alert_rate) - calibration.intercept) / calibration.slope)
    least = min(bounds, default=math.inf)
    if least > 1.0:
        raise InvalidInput(
            f"false_alert_rate {false_alert_rate:g} is less than this gallery's model can keep: "
            f"allow at least {_least_rate(calibration):.2g}, or give min_score"
        )
    return max(least, -1.0)


def _least_rate(calibration: Calibration) -> float:
    if calibration.slope is None or calibration.intercept is None:
        return calibration.false_match_rate
    return min(math.exp(-calibration.slope - calibration.intercept), calibration.false_match_rate)
