"""Moments in time as people and programs write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def parse_timestamp(text: str) -> float:
    """Read a moment.

    Args:
        text: seconds since 1970-01-01 UTC, or ISO 8601; UTC where no zone is given.

    Returns:
        Seconds since 1970-01-01 UTC, finite.

    Raises:
        ValueError: it is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = _iso_seconds(text)
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not finite")
    return seconds


def _iso_seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither ISO 8601 nor seconds since 1970-01-01 UTC") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
