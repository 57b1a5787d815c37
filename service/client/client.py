"""The client: ``Client`` blocks, ``AsyncClient`` is for asyncio; both have the same methods."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import httpx

from service.client import searching
from service.client.access import Audit, Keys
from service.client.crops import Crops
from service.client.errors import InvalidInput
from service.client.galleries import Galleries
from service.client.identities import Identities
from service.client.imports import Imports
from service.client.jobs import Jobs
from service.client.models import Models
from service.client.ops import Ops
from service.client.routes import Group, Route, Sender
from service.client.sending import Awaiting, Blocking
from service.client.snapshots import Snapshots
from service.client.watches import Events, Watches

DEFAULT_URL = "http://127.0.0.1:8000"
KEY_VARIABLE = "REID_KEY"
DEFAULT_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
DEFAULT_RETRY_FOR = 60.0

Timeout = float | httpx.Timeout | None


class _Methods(Group[Sender]):
    """What both clients can do."""

    search = Route(searching.search)
    search_by_vectors = Route(searching.search_by_vectors)
    seen = Route(searching.seen)
    embed = Route(searching.embed)
    detect = Route(searching.detect)

    def __init__(self, sender: Sender) -> None:
        super().__init__(sender)
        self.galleries: Galleries[Sender] = Galleries(sender)
        self.crops: Crops[Sender] = Crops(sender)
        self.identities: Identities[Sender] = Identities(sender)
        self.jobs: Jobs[Sender] = Jobs(sender)
        self.imports: Imports[Sender] = Imports(sender)
        self.watches: Watches[Sender] = Watches(sender)
        self.events: Events[Sender] = Events(sender)
        self.snapshots: Snapshots[Sender] = Snapshots(sender)
        self.models: Models[Sender] = Models(sender)
        self.keys: Keys[Sender] = Keys(sender)
        self.audit: Audit[Sender] = Audit(sender)
        self.ops: Ops[Sender] = Ops(sender)


class Client(_Methods[Blocking]):
    """A client of one service; several threads may share it.

    Args:
        url: where the service listens, with the path prefix of a proxy if there is one.
        key: API key; the environment variable REID_KEY if None, no key if empty.
        timeout: seconds to wait for a connection, and for each piece of a request or an answer.
        retry_for: seconds within which a failed request is sent again if that is safe; 0: never.
        transport: how requests travel; for tests and special networks.

    Raises:
        InvalidInput: the address or the key cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: Timeout = DEFAULT_TIMEOUT,
        retry_for: float = DEFAULT_RETRY_FOR,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        http = httpx.Client(transport=transport, **_settings(url, key, timeout))
        super().__init__(Blocking(http, retry_for))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.sender.http.close()


class AsyncClient(_Methods[Awaiting]):
    """A client of one service for programs that run on asyncio; arguments as of :class:`Client`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: Timeout = DEFAULT_TIMEOUT,
        retry_for: float = DEFAULT_RETRY_FOR,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        http = httpx.AsyncClient(transport=transport, **_settings(url, key, timeout))
        super().__init__(Awaiting(http, retry_for))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.sender.http.aclose()


def _settings(url: str, key: str | None, timeout: Timeout) -> dict[str, Any]:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInput(f"{url}: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidInput(f"{url}: write http://HOST:PORT or https://HOST")
    token = os.environ.get(KEY_VARIABLE, "") if key is None else key
    if not token.isascii() or not (token.isprintable() and " " not in token):
        raise InvalidInput("the API key holds characters that no key has")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": parsed, "headers": headers, "timeout": timeout}
