"""Which client address a request came from, if proxies forwarded it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.caller import Address, plain_address

_HEADER = "X-Forwarded-For"


class ForwardedFor:
    """ASGI middleware that replaces a trusted proxy's address by the client's.

    Each proxy appends the address that the request came from, so our own proxies wrote the entries
    on the right, and the client may have invented those on the left. The first entry from the right
    that is not a trusted proxy is the client. If an entry is not an address, the search ends there,
    and the proxy that forwarded it counts as the client.

    Args:
        app: answers the requests.
        trusted: addresses and networks of the proxies.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = [ipaddress.ip_network(network) for network in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request with its client's address."""
        if scope["type"] == "http":
            scope = {**scope, "client": self._client_of(scope)}
        await self._app(scope, receive, send)

    def _client_of(self, scope: Scope) -> tuple[str, int] | None:
        client: tuple[str, int] | None = scope.get("client")
        address = plain_address(client[0]) if client else None
        if address is None or not self._trusts(address):
            return client
        entries = ",".join(Headers(scope=scope).getlist(_HEADER)).split(",")
        for entry in reversed(entries):
            before = _address_of(entry)
            if before is None:
                break
            address = before
            if not self._trusts(address):
                break
        return str(address), 0

    def _trusts(self, address: Address) -> bool:
        return any(
            network.version == address.version and address in network for network in self._trusted
        )


def _address_of(entry: str) -> Address | None:
    """Parse an entry: ``192.0.2.7``, ``192.0.2.7:80``, ``2001:db8::7`` or ``[…]:80``."""
    entry = entry.strip()
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return plain_address(entry)
