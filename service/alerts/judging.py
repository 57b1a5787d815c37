"""Judges what arrived, in its order, in a thread of its own."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from service.alerts.event import Sighting, Verdict
from service.alerts.judge import Arrived, Judge, is_lasting
from service.alerts.renames import Renames
from service.alerts.table import AlertTable
from service.alerts.watch import Watch
from service.errors import InvalidInput, NotFound, ReidError
from service.gallery.base import Filter
from service.gallery.protocol import Gallery
from service.ingest.arrivals import Arrival, Arrivals
from service.machine.background import Report, guarded

log = logging.getLogger(__name__)

_AT_ONCE = 64  # crops; writers of their gallery may go first in between
_RETRY_SECONDS = 2.0
_LONGEST_PAUSE = 1.0


class Judging:
    """Turns what arrived into events.

    What is judged is stored together with its events. If the process ends before, the same crops
    are judged again and make the same events, which exist only once.

    Args:
        judge: compares crops.
        arrivals: what has been stored.
        table: the watches and events.
        report: counts failures.
        renames: follows people in the galleries that watches compare with.
        stored: called after new events have been stored.
    """

    def __init__(
        self,
        judge: Judge,
        arrivals: Arrivals,
        table: AlertTable,
        report: Report,
        renames: Renames,
        stored: Callable[[], object],
    ) -> None:
        self._store = judge.store
        self._judge = judge
        self._arrivals = arrivals
        self._table = table
        self._report = report
        self._renames = renames
        self._stored = stored
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Find what was not judged by the last run, and begin.

        Raises:
            ReidError: the watches cannot be read.
        """
        for gallery, added in self._table.judged().items():
            try:
                waiting = added_since(self._store.open(gallery), added)
            except (
                ReidError
            ):  # it cannot be read now, or it was deleted: judged later, or forgotten
                self._arrivals.watch(gallery, added, None)
            else:
                self._arrivals.watch(gallery, added, waiting)
        self._thread.start()

    def close(self, patience: float = 10.0) -> None:
        """Stop after the crops that are being judged; the next start continues."""
        self._closing.set()
        self._arrivals.end()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        failed: dict[str, float] = {}  # when to try again, in monotonic seconds
        while not self._closing.is_set():
            now = time.monotonic()
            failed = {name: moment for name, moment in failed.items() if moment > now}
            for name in self._arrivals.galleries():  # they take turns, one arrival each
                if name not in failed and not self._closing.is_set():
                    judge = partial(self._judge_first, name)
                    if not guarded("alerts", judge, self._report):
                        failed[name] = time.monotonic() + _RETRY_SECONDS
            # A gallery that cannot be judged now must not hold up the others.
            self._arrivals.wait(_RETRY_SECONDS if failed else None, failed)

    def _judge_first(self, name: str) -> None:
        try:
            gallery = self._store.open(name)
            if self._arrivals.is_lost(name):
                self._look_up(gallery)
        except NotFound:
            self._arrivals.unwatch(name)
            return
        arrival = self._arrivals.first(name)
        if arrival is None or self._is_left(gallery):
            return
        for part, last in _parts(arrival):
            # What was judged counts as such only after its last part.
            until = arrival.added if last else math.nextafter(arrival.added, 0.0)
            begun = time.monotonic()
            while not self._judge_part(gallery, part, until):
                continue
            # At most half of the time, so that those who add crops go first.
            self._closing.wait(min(time.monotonic() - begun, _LONGEST_PAUSE))
        self._arrivals.done(name, arrival)

    def _judge_part(self, gallery: Gallery, part: Arrival, until: float) -> bool:
        """Judge crops; returns False if people were erased meanwhile, so that they may be gone."""
        self._follow_renamed(gallery.name)
        erasures = self._table.erasures
        arrived = self._judge.arrived(gallery, part)
        sightings: list[Sighting] = []
        for watch in self._table.watches(gallery.name):
            if arrived.added > watch.begins:
                sightings += self._seen(watch, arrived)
        sightings.sort(key=lambda one: one.time)
        verdict = Verdict(gallery.name, until, tuple(sightings))
        stored = self._table.add_events(verdict, erasures, time.time())
        if stored:
            self._stored()
        return stored is not None

    def _follow_renamed(self, gallery: str) -> None:
        """Let watches look for those whose crops were stored again under other names."""
        for name in {watch.order.of for watch in self._table.watches(gallery)}:
            if self._arrivals.take_renamed(name):
                self._renames.follow_named(name)

    def _seen(self, watch: Watch, arrived: Arrived) -> Sequence[Sighting]:
        problem = None
        found: Sequence[Sighting] = ()
        try:
            found = self._judge.sightings(watch, arrived)
        except ReidError as error:
            if not is_lasting(error) and not isinstance(error, InvalidInput):
                raise
            problem = str(error)
        if problem != watch.problem:
            self._table.say_problem(watch.watch_id, problem)
        return found

    def _is_left(self, gallery: Gallery) -> bool:
        """Whether the last watch of a gallery was deleted; if so, stop keeping what arrives."""
        if self._table.watches(gallery.name):
            return False
        with gallery.changing():  # no watch is created meanwhile
            left = not self._table.watches(gallery.name)
            if left:
                self._arrivals.unwatch(gallery.name)
        return left

    def _look_up(self, gallery: Gallery) -> None:
        added = self._table.judged().get(gallery.name)
        with gallery.changing():
            waiting = [] if added is None else added_since(gallery, added)
            self._arrivals.found(gallery.name, waiting)


def added_since(gallery: Gallery, added: float) -> list[Arrival]:
    """What was added to a gallery after a moment, in its order."""
    crops = gallery.crops(Filter(added_since=math.nextafter(added, math.inf)))
    crops.sort(key=lambda crop: crop.added or 0.0)
    return [
        Arrival(moment, tuple(crop.crop_id for crop in together))
        for moment, together in groupby(crops, key=lambda crop: crop.added or 0.0)
    ]


def _parts(arrival: Arrival) -> Iterator[tuple[Arrival, bool]]:
    """An arrival in parts that are judged at once, each with whether it is the last one."""
    for begin in range(0, len(arrival.crop_ids), _AT_ONCE):
        end = begin + _AT_ONCE
        part = Arrival(arrival.added, arrival.crop_ids[begin:end])
        yield part, end >= len(arrival.crop_ids)
