"""Tell work in progress when the client of its request disconnects, so that it can stop."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_disconnect: ContextVar[asyncio.Future[None] | None] = ContextVar("disconnect", default=None)


def set_disconnect(disconnect: asyncio.Future[None]) -> None:
    """Set the future by which the current task learns that its client has disconnected.

    Args:
        disconnect: gets a result if the client disconnects before it is answered.
    """
    _disconnect.set(disconnect)


def current_disconnect() -> asyncio.Future[None] | None:
    """The future of the current request; None if the work belongs to no client."""
    return _disconnect.get()


def client_disconnected() -> bool:
    """Whether the client of the current request has disconnected."""
    disconnect = _disconnect.get()
    return disconnect is not None and disconnect.done()
