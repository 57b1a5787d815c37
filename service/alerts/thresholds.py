"""From which score on a watch takes two crops for the same person."""

from __future__ import annotations

import math

from service.errors import InvalidInput
from service.model.manifest import Calibration


def threshold(
    min_score: float | None, false_alert_rate: float | None, calibration: Calibration | None
) -> float:
    """Find the least score of a match.

    A rate is kept by the bound of
    :meth:`service.values.accuracy.Calibration.false_alert_rate`.

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
            f"allow at least {calibration.false_alert_rate(1.0):.2g}, or give min_score"
        )
    return max(least, -1.0)
