"""Every test of a method runs with both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from service.client import AsyncClient, Client


class Asker:
    """Calls a method of one of the two clients and returns what it answers."""

    def __init__(self, kind: type[Client | AsyncClient]) -> None:
        self.kind = kind

    def __call__(self, url: str, ask: Callable[[Any], Any], **options: Any) -> Any:
        if self.kind is AsyncClient:
            return asyncio.run(self._await(url, ask, **options))
        with Client(url, **options) as client:
            found = ask(client)
            return list(found) if isinstance(found, Iterator) else found

    async def _await(self, url: str, ask: Callable[[Any], Any], **options: Any) -> Any:
        async with AsyncClient(url, **options) as client:
            found = ask(client)
            if isinstance(found, AsyncIterator):
                return [item async for item in found]
            return await found


@pytest.fixture(params=[Client, AsyncClient], ids=["Client", "AsyncClient"])
def asker(request: pytest.FixtureRequest) -> Asker:
    return Asker(request.param)


@pytest.fixture
def ask(asker: Asker, service: Any) -> Callable[..., Any]:
    """Asks the running service: ``ask(lambda client: client.ops.info())``."""

    def one(what: Callable[[Any], Any], **options: Any) -> Any:
        return asker(service.url, what, **options)

    return one


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A gallery's name that no other test uses."""
    letters = (c if c.isalnum() else "-" for c in request.node.name.lower())
    return "".join(letters).strip("-")[-60:].strip("-")
