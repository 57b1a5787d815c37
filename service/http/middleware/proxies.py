"""Which address a request came from, if proxies passed it on."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.caller import Address, plain_address

_HEADER = "X-Forwarded-For"


class ForwardedFor:
    """ASGI middleware that puts the client's address in the place of a trusted proxy's.

    Each proxy appends the address that it was asked from, so the entries on the right are those of
    our own proxies and the ones on the left are the client's invention. The first entry from the
    right that is no trusted proxy is the client. An entry that is no address ends the search: then
    the proxy that passed it on counts as the client.

    Args:
        app: what answers.
        trusted: addresses and networks of the proxies.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = [ipaddress.ip_network(network) for network in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its client's address."""
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
    """The address of an entry: ``192.0.2.7``, ``192.0.2.7:80``, ``2001:db8::7``, ``[…]:80``."""
    entry = entry.strip()
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return plain_address(entry)
