"""Rate limits: token buckets in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_NAMES = 10_000


class Buckets:
    """One bucket of tokens per name, which refills steadily.

    A bucket holds the tokens of one minute, so a caller that was quiet may use all of them at once.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Name to (tokens, when they were counted); the least recently used is first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: int, count: int = 1) -> float:
        """Take tokens, all or none.

        Args:
            name: whose bucket.
            per_minute: tokens added per minute, which is also the size of a bucket.
            count: number of tokens, at most ``per_minute``.

        Returns:
            0 if there were enough, otherwise the seconds until there will be.
        """
        now, rate = self._clock(), per_minute / 60
        tokens, counted = self._buckets.pop(name, (float(per_minute), now))
        tokens = min(tokens + (now - counted) * rate, float(per_minute))
        wait = 0.0 if tokens >= count else (count - tokens) / rate
        self._buckets[name] = (tokens if wait else tokens - count, now)
        if len(self._buckets) > _MOST_NAMES:  # bounds memory, however many addresses send requests
            self._buckets.popitem(last=False)
        return wait
