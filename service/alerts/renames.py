"""Lets watches and events follow people whose names change.

An identity is the name that some crops have, so nothing but these crops can tell a new name from
another person. Each name that a watch holds is therefore stored with crops that it was last seen
on. If no crop has the name any more, these crops tell the present one, whatever changed it. An
event follows the crop that it matched.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

from service.alerts.event import subject_of
from service.alerts.forgetting import phrase_of
from service.alerts.held_names import Held, Shown, crops_of, present_names, told_under
from service.alerts.table import AlertTable
from service.alerts.watch import Watch, WatchOrder
from service.errors import NotFound, ReidError
from service.gallery.base import Crop
from service.gallery.disk.conditions import as_json
from service.gallery.protocol import Gallery, GalleryStore
from service.machine.erasable import mark_unclean

log = logging.getLogger(__name__)

_NAMED = 3  # names in a problem


class Renames:
    """Follows people in the galleries that watches compare with; safe to call from any thread.

    Args:
        table: the watches and events.
        store: the galleries.
    """

    def __init__(self, table: AlertTable, store: GalleryStore) -> None:
        self._table = table
        self._store = store
        self._missing: dict[str, frozenset[str]] = {}

    def follow(self, gallery: Gallery, leaving: Collection[str] = ()) -> None:
        """Let watches look for people under the names of now.

        Nothing is lost if this fails or is repeated: it compares what is stored with the gallery.

        Args:
            gallery: the gallery that watches compare with.
            leaving: identities that may be about to lose their last crop.

        Raises:
            ReidError: the gallery or the watches cannot be read or written.
        """
        with gallery.changing():
            held = self._held(gallery.name)
            if held.is_empty:
                return
            named = held.named(leaving)
            told = told_under(gallery, named)
            renamed = present_names(gallery, held, named - told.keys())
            if renamed:
                self._rename(gallery.name, held, renamed)
                held = self._held(gallery.name)
                named = held.named(leaving)
                told = told_under(gallery, named)
            kept = {name: crops for name, crops in held.shown.items() if name in named}
            self._note(gallery.name, held.shown, kept | told)
            self._say_missing(gallery.name, held, held.wanted - told.keys())

    def follow_events(self, gallery: Gallery) -> None:
        """Let events say who is on the crops that they matched, unless these were sent again.

        Args:
            gallery: the gallery that the events' crops were compared with.

        Raises:
            ReidError: the gallery or the events cannot be read or written.
        """
        with gallery.changing():
            changed = self._events_changed(gallery)
            if not changed:
                return
            with self._table.writing() as connection:
                self._table.erasures += 1
                connection.executemany(
                    "UPDATE events SET identity = ?, subject = ? "
                    "WHERE compared = ? AND matched = ? AND identity IS ? AND created >= ?",
                    changed,
                )
                mark_unclean(connection)
        self._table.clean_soon()

    def follow_all(self) -> None:
        """Look at every gallery that watches and events name. Raises ReidError."""
        with self._table.reading() as connection:
            rows = connection.execute(
                "SELECT compared FROM watches UNION SELECT compared FROM events "
                "UNION SELECT compared FROM shown"
            ).fetchall()
        for (name,) in rows:
            self.follow_named(name)

    def follow_named(self, name: str) -> None:
        """Look at a gallery, if it exists; the next look makes up for a failure."""
        with suppress(NotFound), _later(name):
            gallery = self._store.open(name)
            self.follow(gallery)
            self.follow_events(gallery)

    @contextmanager
    def following(self, gallery: Gallery, leaving: Collection[str]) -> Iterator[None]:
        """Follow a change of names that the block makes.

        If the process ends within, the next start follows what had been stored by then.

        Args:
            gallery: the gallery; the caller holds its lock.
            leaving: identities that may lose their last crop.
        """
        with _later(gallery.name):
            self.follow(gallery, leaving)
        yield
        self._table.erasures += 1  # nobody who has read the old names stores them after this
        with _later(gallery.name):
            self.follow(gallery)
            self.follow_events(gallery)

    def names_of(self, gallery: str, crop_ids: Collection[str]) -> frozenset[str]:
        """Names that are only known of some crops. Raises ReidError."""
        with self._table.reading() as connection:
            rows = connection.execute(
                "SELECT identity FROM shown WHERE compared = ? GROUP BY identity "
                "HAVING min(crop_id IN (SELECT value FROM json_each(?)))",
                (gallery, as_json(crop_ids)),
            ).fetchall()
        return frozenset(name for (name,) in rows)

    def told(self, watch: Watch) -> Watch:
        """A watch that says whom it cannot find, unless it has a greater problem."""
        missing = self._missing.get(watch.order.of, frozenset())
        names = [name for name in watch.order.identities if name in missing]
        if not names or watch.problem is not None:
            return watch
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed = ", ".join(map(repr, names[:_NAMED]))
        problem = f"no crop of gallery {watch.order.of!r} shows {listed}{more}"
        return replace(watch, problem=problem)

    def _held(self, gallery: str) -> Held:
        with self._table.reading() as connection:
            watches = connection.execute(
                "SELECT watch_id, wanted FROM watches WHERE compared = ? OR gallery = ?",
                (gallery, gallery),
            ).fetchall()
            rows = connection.execute(
                "SELECT identity, crop_id, digest FROM shown WHERE compared = ?", [gallery]
            ).fetchall()
        orders = {watch_id: WatchOrder.read(wanted) for watch_id, wanted in watches}
        shown: defaultdict[str, dict[str, str | None]] = defaultdict(dict)
        for identity, crop_id, digest in rows:
            shown[identity][crop_id] = digest
        return Held(
            orders={key: order for key, order in orders.items() if order.of == gallery},
            texts=[phrase_of(order.name) for order in orders.values() if order.name],
            shown=shown,
        )

    def _rename(self, gallery: str, held: Held, renamed: Mapping[str, str]) -> None:
        with self._table.writing() as connection:
            self._table.erasures += 1
            for watch_id, order in held.orders.items():
                names = dict.fromkeys(renamed.get(name, name) for name in order.identities)
                if (left := replace(order, identities=tuple(names))) != order:
                    connection.execute(
                        "UPDATE watches SET wanted = ?, problem = NULL WHERE watch_id = ?",
                        (left.as_text(), watch_id),
                    )
            for former, present in renamed.items():
                connection.execute(
                    "UPDATE events SET identity = ?, subject = ? "
                    "WHERE compared = ? AND identity = ?",
                    (present, subject_of(present, None), gallery, former),
                )
            mark_unclean(connection)
        self._table.clean_soon()

    def _note(self, gallery: str, before: Shown, now: Shown) -> None:
        """Store on which crops names were seen."""
        old, new = _rows(before), _rows(now)
        if old == new:
            return
        with self._table.writing() as connection:
            connection.executemany(
                "DELETE FROM shown WHERE compared = ? AND identity = ? AND crop_id = ? "
                "AND digest IS ?",
                [(gallery, *row) for row in old - new],
            )
            connection.executemany(
                "INSERT INTO shown VALUES (?, ?, ?, ?)", [(gallery, *row) for row in new - old]
            )
            if old - new:
                mark_unclean(connection)

    def _say_missing(self, gallery: str, held: Held, missing: frozenset[str]) -> None:
        """Keep in memory whom watches cannot find, and take back what was said of the others."""
        back = self._missing.get(gallery, frozenset()) - missing
        for watch_id, order in held.orders.items():
            if not back.isdisjoint(order.identities):
                self._table.say_problem(watch_id, None)
        self._missing[gallery] = missing

    def _events_changed(self, gallery: Gallery) -> list[tuple[object, ...]]:
        """What to change in which events, whose crop has another identity now."""
        with self._table.reading() as connection:
            rows = connection.execute(
                "SELECT matched, identity, max(created) FROM events "
                "WHERE compared = ? AND matched IS NOT NULL GROUP BY matched, identity",
                [gallery.name],
            ).fetchall()
        crops = crops_of(gallery, {matched for matched, *_ in rows})
        return [
            (*_named_by(crop), gallery.name, crop.crop_id, former, crop.added or 0.0)
            for matched, former, latest in rows
            if (crop := crops.get(matched)) is not None
            and crop.identity != former
            and latest >= (crop.added or 0.0)
        ]


def _rows(shown: Shown) -> set[tuple[str, str, str | None]]:
    return {(name, *crop) for name, crops in shown.items() for crop in crops.items()}


@contextmanager
def _later(gallery: str) -> Iterator[None]:
    """Log a failure to follow, which the next look at the gallery makes up for."""
    try:
        yield
    except NotFound:
        raise
    except ReidError as error:
        log.warning("gallery %r: watches may miss new names: %s", gallery, error)


def _named_by(crop: Crop) -> tuple[str | None, str]:
    """Whom an event is about that matched a crop, and its subject."""
    return crop.identity, subject_of(crop.identity, crop.crop_id)
