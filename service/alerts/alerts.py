"""Watches and events of one service: what is looked for, and what was seen.

``<data>/alerts.sqlite3`` holds both.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from service.alerts import forgetting
from service.alerts.delivering import Delivering
from service.alerts.event import Event, EventFilter, EventPage
from service.alerts.judge import Judge
from service.alerts.judging import Judging
from service.alerts.renames import Renames
from service.alerts.signing import new_secret
from service.alerts.table import AlertTable
from service.alerts.watch import MQTT, Watch, WatchOrder
from service.errors import InvalidInput
from service.gallery.rules import decode_cursor, encode_cursor
from service.ingest.arrivals import Arrivals
from service.machine.background import Report
from service.values.addresses import AllowedAddresses, WebAddress
from service.values.broker import Broker

FILE = "alerts.sqlite3"
_DIGITS = 18  # SQLite's integers have up to 19 digits, but not every 19-digit number fits
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class AlertRules:
    """What an operator decides about alerts.

    Attributes:
        event_days: how many days events are kept.
        allowed: the addresses that events may be delivered to.
        broker: where events may be published; None for nowhere.
    """

    event_days: int
    allowed: AllowedAddresses
    broker: Broker | None = None


class Alerts:
    """Keeps watches, judges what arrives, keeps and delivers events; safe to call from any thread.

    Args:
        data: the service's data folder.
        judge: compares crops.
        arrivals: what has been stored.
        report: counts failures in the background.
        rules: what the operator decides.
    """

    def __init__(
        self, data: Path, judge: Judge, arrivals: Arrivals, report: Report, rules: AlertRules
    ) -> None:
        self.table = AlertTable(data / FILE)
        self.arrivals = arrivals
        self.written = 0
        """How often new events were stored, for those who wait for the next one."""
        self.renames = Renames(self.table, judge.store)
        self.judging = Judging(judge, arrivals, self.table, report, self.renames, self._tell)
        self.delivering = Delivering(self.table, rules.allowed, rules.broker, report)
        self._judge = judge
        self._store = judge.store
        self._rules = rules

    def start(self) -> None:
        """Judge and deliver what the last run left. Raises ReidError if that cannot be read."""
        self.renames.follow_all()
        self.judging.start()
        self.delivering.start()

    def close(self) -> None:
        """Stop judging and delivering; the next start continues."""
        self.judging.close()
        self.delivering.close()
        self.table.close()

    def create(self, order: WatchOrder) -> tuple[Watch, float]:
        """Begin to watch, durable on return.

        Args:
            order: what to look for.

        Returns:
            The watch, and from which cosine on it takes two crops for the same person.

        Raises:
            NotFound: a gallery does not exist.
            ModelMismatch: the galleries have different models, or the service lacks their model.
            InvalidInput: the model's calibration does not say what a match is, or the operator does
                not allow the address.
            Conflict: the gallery has too many watches.
            StorageFull: the disk is full.
            Unavailable: the file cannot be used.
        """
        self._require_allowed(order.deliver_to)
        least = self._judge.require_comparable(order)
        with self._store.changing(order.gallery):  # nothing is being added, and it is not deleted
            begins = self.arrivals.next_time(order.gallery)
            secret = None if order.deliver_to in {None, MQTT} else new_secret()
            watch = Watch(secrets.token_hex(8), order, time.time(), begins, secret)
            self.table.add_watch(watch)
            self.arrivals.watch(order.gallery, begins)
        self.renames.follow_named(order.of)
        return self.renames.told(watch), least

    def watches(self, gallery: str) -> list[Watch]:
        """The watches of a gallery, oldest first. Raises Unavailable."""
        return [self.renames.told(watch) for watch in self.table.watches(gallery)]

    def watch(self, gallery: str, watch_id: str) -> Watch:
        """One watch of a gallery. Raises NotFound, Unavailable."""
        return self.renames.told(self.table.watch(gallery, watch_id))

    def page(self, where: EventFilter, limit: int, cursor: str | None = None) -> EventPage:
        """One page of the events that pass a filter, newest first.

        Args:
            where: the filter.
            limit: most events, >= 1.
            cursor: of the previous page; None for the first.

        Returns:
            The page. Events stored after the first page was read are on none of the pages.

        Raises:
            InvalidInput: the cursor is not valid.
        """
        found = self.table.newest(where, limit + 1, None if cursor is None else number_of(cursor))
        more = len(found) > limit
        following = cursor_of(found[limit - 1]) if more else None
        return EventPage(tuple(found[:limit]), following)

    def forget_gallery(self, gallery: str) -> None:
        """Erase the watches and events of a gallery that was deleted. Raises ReidError."""
        self.arrivals.unwatch(gallery)
        forgetting.forget_gallery(self.table, gallery)

    def forget_names(self, gallery: str, texts: Collection[str], *, all_: bool) -> None:
        """Erase people; see :func:`service.alerts.forgetting.forget_names`. Raises ReidError."""
        forgetting.forget_names(self.table, gallery, texts, all_=all_)

    def tidy(self) -> None:
        """Follow new names, erase events that are too old, and copies of erased texts.

        Raises:
            ReidError: the file cannot be read or written.
        """
        self.renames.follow_all()
        forgetting.forget_old(self.table, time.time() - self._rules.event_days * _DAY)
        self.table.clean()

    def galleries(self) -> list[str]:
        """Names of all galleries that a watch or an event names."""
        return forgetting.galleries_of(self.table)

    def deliver_again(
        self, gallery: str, event_id: str, visible: frozenset[str] | None = None
    ) -> None:
        """Deliver an event as if it were new.

        Args:
            gallery: the gallery that its crop was added to.
            event_id: the event.
            visible: the galleries whose people the caller may see; None for all.

        Raises:
            NotFound: there is no such event.
            Conflict: its watch has no address, or was deleted.
            StorageFull: the disk is full.
            Unavailable: the file cannot be used.
        """
        where = EventFilter(gallery, visible)
        self.table.deliver_again(where, event_id, time.time())
        self.delivering.wake()

    def _tell(self) -> None:
        self.written += 1
        self.delivering.wake()

    def _require_allowed(self, url: str | None) -> None:
        if url is None or (url == MQTT and self._rules.broker is not None):
            return
        if url == MQTT:
            raise InvalidInput(
                "deliver_to: this service has no MQTT broker; its operator names one in REID_MQTT"
            )
        try:
            address = WebAddress.read(url)
        except ValueError as error:
            raise InvalidInput(f"deliver_to: {error}") from None
        if not self._rules.allowed.covers(address):
            raise InvalidInput(
                f"deliver_to: this service may not post to {url[:80]!r}; its operator lists "
                "allowed addresses in REID_WEBHOOKS"
            )


def cursor_of(event: Event) -> str:
    """The cursor of what follows an event in a listing, or came after it in a stream."""
    return encode_cursor(str(event.number))


def number_of(cursor: str) -> int:
    """The number of the event that a cursor names.

    Raises:
        InvalidInput: it is not a cursor of events.
    """
    text = decode_cursor(cursor)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidInput(f"cursor {cursor[:80]!r} is not of events")
    return int(text)
