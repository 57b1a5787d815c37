"""Whether the service is ready for requests.

A check runs the network and writes to the disk. Probes need no key, so their cost is limited:
concurrent probes share one check, and its result is reused for a second.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from collections.abc import Awaitable, Callable

from service.errors import Unavailable

log = logging.getLogger(__name__)

HOLDS_SECONDS = 1.0
"""How long the result of a check is reused."""

Clock = Callable[[], float]


class Readiness:
    """Checks at most once per second; belongs to one event loop.

    Args:
        look: does what a request would do, and raises Unavailable if it fails.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Clock = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._looking: asyncio.Task[Unavailable | None] | None = None
        self._seen: Unavailable | None = None
        self._until = -math.inf

    async def check(self) -> None:
        """Answer with a running check, with the last result of this second, or with a new check.

        Raises:
            Unavailable: the check failed.
        """
        if self._looking is None and self._clock() < self._until:
            outcome = self._seen
        else:
            outcome = await asyncio.shield(self._shared())
        if outcome is not None:
            raise Unavailable(str(outcome), outcome.retry_after)

    def _shared(self) -> asyncio.Task[Unavailable | None]:
        if self._looking is None:
            # In its own context: it must not end when the first client disconnects.
            loop, nobody = asyncio.get_running_loop(), contextvars.Context()
            self._looking = loop.create_task(self._run(), context=nobody)
        return self._looking

    async def _run(self) -> Unavailable | None:
        seen: Unavailable | None = None
        try:
            await self._look()
        except Unavailable as error:
            seen = error
        except (
            Exception
        ):  # a defect: the service is not ready, and must not be checked again at once
            log.exception("the readiness check failed")
            seen = Unavailable("the readiness check failed; see the service's log")
        finally:
            self._looking = None
        self._seen, self._until = seen, self._clock() + HOLDS_SECONDS
        return seen
