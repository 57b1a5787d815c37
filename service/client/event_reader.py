"""Reads server-sent events line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Generic, TypeVar

from service.client.call import Call, Listening

Item = TypeVar("Item")


class EventReader(Generic[Item]):
    """Makes items of the lines of a stream, over several connections.

    Args:
        listening: the stream.
    """

    def __init__(self, listening: Listening[Item]) -> None:
        self._listening = listening
        self._last: str | None = None
        self._coming: str | None = None
        self._data: list[str] = []

    def call(self) -> Call[None]:
        """The request that continues after the last complete event."""
        self._coming, self._data = None, []
        call = self._listening.call
        if self._last is None:
            return call
        return replace(call, headers={**call.headers, "Last-Event-ID": self._last})

    def take(self, line: str) -> Iterator[Item]:
        """Read one line; an empty one ends an event."""
        name, _, value = line.partition(":")
        match name:
            case "id":
                self._coming = value.strip()
            case "data":
                self._data.append(value.removeprefix(" "))
            case "" if not line and self._data:
                text, self._data = "\n".join(self._data), []
                self._last = self._coming
                yield self._listening.read(text)
