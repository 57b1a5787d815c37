"""How often somebody may ask: token buckets in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_NAMES = 10_000


class Buckets:
    """A bucket of tokens for each name, which fills steadily.

    A bucket holds what a minute brings, so a quiet caller may ask that often at once.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Name to (tokens, when they were counted); the least recently asked is first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: int, count: int = 1) -> float:
        """Take tokens, all or none.

        Args:
            name: whose bucket.
            per_minute: how many tokens a minute brings, and a full bucket holds.
            count: how many, at most ``per_minute``.

        Returns:
            0 where there were enough, else the seconds until there are.
        """
        now, rate = self._clock(), per_minute / 60
        tokens, counted = self._buckets.pop(name, (float(per_minute), now))
        tokens = min(tokens + (now - counted) * rate, float(per_minute))
        wait = 0.0 if tokens >= count else (count - tokens) / rate
        self._buckets[name] = (tokens if wait else tokens - count, now)
        if len(self._buckets) > _MOST_NAMES:  # memory is bounded, whoever asks
            self._buckets.popitem(last=False)
        return wait
