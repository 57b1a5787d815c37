"""Split one computation over the processors that happen to be idle.

NumPy's and FAISS's own threads divide each call into equal shares and wait for the slowest. If
other work occupies a processor, one share waits for its turn while the other threads spin, and a
thousand small calls take a hundred times as long. So the service lets each call run on one thread
(:func:`service.machine.processors.one_thread_per_call`), and divides its work here: threads take
one part after another, and nobody waits for a thread that got no processor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from service.machine.processors import available, lower_priority

_Part = TypeVar("_Part")

_HELPERS = available() - 1
_pool = ThreadPoolExecutor(max(1, _HELPERS), "helper", initializer=lower_priority)


def share(work: Callable[[_Part], object], parts: Sequence[_Part], helpers: int = _HELPERS) -> None:
    """Do every part of some work, with the help of idle processors.

    The calling thread works too, and does the parts again that a helper has begun and not finished
    when nothing else is left. So a part may be done twice, even after this function has returned:
    it must write the same values each time, to memory that nobody changes afterwards.

    Args:
        work: does one part; must release the interpreter's lock to be worth it.
        parts: the parts, of about a millisecond each.
        helpers: most threads that help.
    """
    fresh = deque(range(len(parts)))
    unfinished = set(fresh)

    def take_parts() -> None:
        while fresh:
            try:
                place = fresh.popleft()
            except IndexError:  # another thread took the last one
                return
            work(parts[place])
            unfinished.discard(place)

    asked = [_pool.submit(take_parts) for _ in range(min(helpers, len(parts) - 1))]
    try:
        take_parts()
        for place in tuple(unfinished):
            if place in unfinished:
                work(parts[place])
    finally:
        fresh.clear()
        for helper in asked:
            helper.cancel()
