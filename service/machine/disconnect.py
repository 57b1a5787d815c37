"""Whether the client of the request at hand is still there: nobody waits for work nobody wants."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_departure: ContextVar[asyncio.Future[None] | None] = ContextVar("departure", default=None)


def set_disconnect(departure: asyncio.Future[None]) -> None:
    """Tell the work of the current task how it learns that its client has left.

    Args:
        departure: gets a result when the client leaves before it has an answer, and none otherwise.
    """
    _departure.set(departure)


def current_disconnect() -> asyncio.Future[None] | None:
    """The future of the request at hand; None where the work belongs to no client."""
    return _departure.get()


def client_disconnected() -> bool:
    """Whether the client of the request at hand has left."""
    departure = _departure.get()
    return departure is not None and departure.done()
