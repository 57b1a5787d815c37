"""What a client was told, to be held against what a service still knows after it was killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Record:
    """A crop as a client sent it.

    Attributes:
        digest: SHA-256 of its picture.
        identity: who it shows.
        camera: which camera took it.
        timestamp: when, seconds.
        origin: where the identity comes from: given with the crop, or by hand.
    """

    digest: str
    identity: str | None = None
    camera: str | None = None
    timestamp: float | None = None
    origin: str = "given"

    def stored_over(self, before: Record | None) -> Record:
        """What is stored where this is sent for a crop that is there already.

        What people said of a picture stays when the same picture is sent again.
        """
        if before is None or before.origin != "hand" or before.digest != self.digest:
            return self
        return replace(self, identity=before.identity, origin=before.origin)


State = Mapping[str, Record]


@dataclass(frozen=True)
class Change:
    """What one request does to the crops of the client that sends it.

    Attributes:
        put: crops that are there afterwards, by id.
        removed: ids that are gone afterwards.
    """

    put: State = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def after(self, state: State) -> dict[str, Record]:
        """The crops once the change is made."""
        kept = {key: record for key, record in state.items() if key not in self.removed}
        return kept | dict(self.put)


class Ledger:
    """One client's account: everything acknowledged, and the request that is under way.

    A client owns its crop ids and sends one request at a time, so there are two states the service
    may be in whenever it is killed: without the request under way, or with all of it.
    """

    def __init__(self) -> None:
        self.state: dict[str, Record] = {}
        self.acknowledged = 0
        self.in_flight_kept = 0
        self.in_flight_gone = 0
        self._pending: Change | None = None

    def begin(self, change: Change) -> None:
        """A request is about to be sent."""
        self._pending = change

    def acknowledge(self) -> None:
        """The request was answered with success."""
        if self._pending is not None:
            self.state = self._pending.after(self.state)
        self._pending = None
        self.acknowledged += 1

    def refuse(self) -> None:
        """The request was answered with a failure and has to have changed nothing."""
        self._pending = None

    def settle(self, found: State) -> list[str]:
        """Hold the account against what was found after a restart, and go on from there.

        Args:
            found: the client's crops that the service lists.

        Returns:
            What is wrong, in words; empty where nothing is.
        """
        pending, before = self._pending or Change(), self.state
        after = pending.after(before)
        self._pending, self.state = None, dict(found)
        if found == before:
            self.in_flight_gone += after != before
            return []
        if found == after:
            self.in_flight_kept += 1
            return []
        touched = pending.removed | pending.put.keys()
        wrong = [
            f"{key}: acknowledged {before.get(key)}, found {found.get(key)}"
            for key in sorted(before.keys() | found.keys())
            if key not in touched and before.get(key) != found.get(key)
        ]
        return wrong or [f"half of an unacknowledged change of {sorted(touched)}"]
