"""Whether the service can work, asked by anybody and as often as they like.

A probe runs the network and writes to the disk. Probes need no key, so what they cost is bounded:
those that come together share one look, and its outcome holds for a second.
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
"""How long one look answers for."""

Clock = Callable[[], float]


class Readiness:
    """Looks at most once a second; belongs to one event loop.

    Args:
        look: does what a request would do, and raises Unavailable where that fails.
        clock: seconds that only rise.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], clock: Clock = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._looking: asyncio.Task[Unavailable | None] | None = None
        self._seen: Unavailable | None = None
        self._until = -math.inf

    async def check(self) -> None:
        """Answer by a look under way, by the last one of this second, or by a new one.

        Raises:
            Unavailable: what that look met.
        """
        if self._looking is None and self._clock() < self._until:
            outcome = self._seen
        else:
            outcome = await asyncio.shield(self._shared())
        if outcome is not None:
            raise Unavailable(str(outcome), outcome.retry_after)

    def _shared(self) -> asyncio.Task[Unavailable | None]:
        if self._looking is None:
            # In a context of its own: it must not end when the client who came first leaves.
            loop, nobody = asyncio.get_running_loop(), contextvars.Context()
            self._looking = loop.create_task(self._run(), context=nobody)
        return self._looking

    async def _run(self) -> Unavailable | None:
        seen: Unavailable | None = None
        try:
            await self._look()
        except Unavailable as error:
            seen = error
        except Exception:  # a defect: the service is not ready, and must not be asked again at once
            log.exception("it cannot be told whether the service is ready")
            seen = Unavailable("it cannot be told whether the service is ready; see its log")
        finally:
            self._looking = None
        self._seen, self._until = seen, self._clock() + HOLDS_SECONDS
        return seen
