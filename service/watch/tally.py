"""What was read, sent and dropped so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Tally:
    """Counts of one run.

    Attributes:
        frames_read: frames that were chosen to be sent.
        frames_sent: frames that the service has looked at.
        frames_dropped: live frames that waited too long.
        frames_failed: frames that the service cannot use.
        persons_stored: crops that are on the service's disk.
        persons_dropped: persons that were found and not stored, such as all but the best pictures
            of somebody who is followed.
        reconnects: how often a lost connection was made again.
        lag_seconds: how old the last live frame was when the service had looked at it.
    """

    frames_read: int = 0
    frames_sent: int = 0
    frames_dropped: int = 0
    frames_failed: int = 0
    persons_stored: int = 0
    persons_dropped: int = 0
    reconnects: int = 0
    lag_seconds: float | None = None

    def line(self) -> str:
        """The counts for people."""
        parts = [
            f"{self.frames_read} frames read",
            f"{self.frames_sent} sent",
            f"{self.frames_dropped} dropped",
        ]
        parts += [f"{self.frames_failed} failed"] if self.frames_failed else []
        parts += [f"{self.persons_stored} persons stored"]
        parts += [f"{self.persons_dropped} left out"] if self.persons_dropped else []
        parts += [f"reconnected {self.reconnects} times"] if self.reconnects else []
        parts += [] if self.lag_seconds is None else [f"lag {self.lag_seconds:.1f} s"]
        return ", ".join(parts)

    def record(self) -> dict[str, Any]:
        """The counts for programs."""
        lag = self.lag_seconds
        return asdict(self) | {"lag_seconds": None if lag is None else round(lag, 3)}
