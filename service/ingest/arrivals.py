"""Which crops have been stored in watched galleries, in their order, until they are judged.

Every crop gets the time at which it was added, and the times of one gallery rise strictly, whatever
the machine's clock does. So one number per gallery says what is judged: every crop that was added
later is not. What waits here is lost with the process, and found again by that number.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

_MOST_WAITING = 2_000  # arrivals per gallery; beyond it the gallery is asked for its new crops


@dataclass(frozen=True, slots=True)
class Arrival:
    """Crops that were stored together.

    Attributes:
        added: when, in seconds since 1970-01-01 UTC.
        crop_ids: their ids.
    """

    added: float
    crop_ids: tuple[str, ...]


class Arrivals:
    """What has arrived in the watched galleries; safe to call from any thread.

    Args:
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._latest: dict[str, float] = {}
        self._waiting: dict[str, deque[Arrival]] = {}
        self._lost: set[str] = set()
        self._renamed: set[str] = set()
        self._changed = threading.Condition()
        self._ended = False

    def next_time(self, gallery: str) -> float:
        """The time to store with crops that are about to be added.

        Args:
            gallery: its name. The caller holds its lock until :meth:`note`.

        Returns:
            Seconds since 1970-01-01 UTC, later than any returned for this gallery before.
        """
        with self._changed:
            after = math.nextafter(self._latest.get(gallery, 0.0), math.inf)
            self._latest[gallery] = max(self._clock(), after)
            return self._latest[gallery]

    def note(self, gallery: str, added: float, crop_ids: Sequence[str]) -> None:
        """Note that crops are stored; in a gallery that nobody watches this does nothing."""
        with self._changed:
            waiting = self._waiting.get(gallery)
            if waiting is None or not crop_ids:
                return
            waiting.append(Arrival(added, tuple(crop_ids)))
            if len(waiting) > _MOST_WAITING:
                waiting.clear()
                self._lost.add(gallery)
            self._changed.notify_all()

    def note_renamed(self, gallery: str) -> None:
        """Note that crops were stored again with other identities."""
        with self._changed:
            self._renamed.add(gallery)

    def take_renamed(self, gallery: str) -> bool:
        """Whether identities of stored crops have changed since this was last asked."""
        with self._changed:
            if gallery not in self._renamed:
                return False
            self._renamed.discard(gallery)
            return True

    def watch(self, gallery: str, since: float, waiting: Sequence[Arrival] | None = ()) -> None:
        """Begin to keep what arrives in a gallery.

        Args:
            gallery: its name.
            since: what was added until then is judged.
            waiting: what has been added after it; None if the gallery has to be asked.
        """
        with self._changed:
            latest = max((arrival.added for arrival in waiting or ()), default=since)
            self._latest[gallery] = max(self._latest.get(gallery, 0.0), since, latest)
            self._waiting.setdefault(gallery, deque()).extend(waiting or ())
            if waiting is None:
                self._lost.add(gallery)
            self._changed.notify_all()

    def unwatch(self, gallery: str) -> None:
        """Forget what waits in a gallery, and what will."""
        with self._changed:
            self._waiting.pop(gallery, None)
            self._lost.discard(gallery)

    def is_watched(self, gallery: str) -> bool:
        """Whether what arrives in a gallery is kept."""
        with self._changed:
            return gallery in self._waiting

    def galleries(self) -> list[str]:
        """Names of the galleries in which something waits."""
        with self._changed:
            return sorted({name for name, waiting in self._waiting.items() if waiting} | self._lost)

    def first(self, gallery: str) -> Arrival | None:
        """What waits longest in a gallery; None if nothing does, or if the gallery has to be asked.

        It keeps waiting until :meth:`done`.
        """
        with self._changed:
            waiting = self._waiting.get(gallery)
            return None if not waiting or gallery in self._lost else waiting[0]

    def is_lost(self, gallery: str) -> bool:
        """Whether the gallery itself has to be asked what is not judged yet."""
        with self._changed:
            return gallery in self._lost

    def found(self, gallery: str, waiting: Sequence[Arrival]) -> None:
        """Replace what waits by what the gallery answered; the caller holds the gallery's lock."""
        with self._changed:
            if gallery in self._waiting:
                self._waiting[gallery] = deque(waiting)
            self._lost.discard(gallery)

    def done(self, gallery: str, arrival: Arrival) -> None:
        """Let go of what was judged."""
        with self._changed:
            waiting = self._waiting.get(gallery)
            if waiting and waiting[0] is arrival:
                waiting.popleft()

    def wait(self, seconds: float | None, but: Collection[str] = ()) -> None:
        """Wait until something waits in another gallery than some, or no longer than allowed.

        Args:
            seconds: the longest wait; None for any.
            but: names of galleries whose arrivals end no wait.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or not set(self.galleries()) <= set(but), seconds
            )

    def end(self) -> None:
        """End every wait for good."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
