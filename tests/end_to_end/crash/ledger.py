"""What a client was answered, to compare with what a service still has after it was killed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Record:
    """A crop as a client sent it.

    Attributes:
        digest: SHA-256 of its picture.
        identity: the person it shows.
        camera: the camera that took it.
        timestamp: seconds since 1970.
        origin: the source of the identity: given with the crop, or by hand.
    """

    digest: str
    identity: str | None = None
    camera: str | None = None
    timestamp: float | None = None
    origin: str = "given"

    def stored_over(self, before: Record | None) -> Record:
        """What the service stores when this is sent for an existing crop.

        A label given by hand stays when the same picture is sent again.
        """
        if before is None or before.origin != "hand" or before.digest != self.digest:
            return self
        return replace(self, identity=before.identity, origin=before.origin)


State = Mapping[str, Record]


@dataclass(frozen=True)
class Change:
    """The effect of one request on its client's crops.

    Attributes:
        put: crops that exist afterwards, by id.
        removed: ids that are gone afterwards.
    """

    put: State = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def after(self, state: State) -> dict[str, Record]:
        """The crops after the change."""
        kept = {key: record for key, record in state.items() if key not in self.removed}
        return kept | dict(self.put)


class Ledger:
    """One client's record: everything acknowledged, and the pending request.

    A client owns its crop ids and sends one request at a time. So a killed service may be in two
    states: without the pending request, or with all of it.
    """

    def __init__(self) -> None:
        self.state: dict[str, Record] = {}
        self.acknowledged = 0
        self.in_flight_kept = 0
        self.in_flight_gone = 0
        self._pending: Change | None = None

    def begin(self, change: Change) -> None:
        """Record a request that is about to be sent."""
        self._pending = change

    def acknowledge(self) -> None:
        """Record that the request succeeded."""
        if self._pending is not None:
            self.state = self._pending.after(self.state)
        self._pending = None
        self.acknowledged += 1

    def refuse(self) -> None:
        """Record that the request failed; it must have changed nothing."""
        self._pending = None

    def settle(self, found: State) -> list[str]:
        """Compare the ledger with what was found after a restart, and continue from there.

        Args:
            found: the client's crops that the service lists.

        Returns:
            Every problem, in words.
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
