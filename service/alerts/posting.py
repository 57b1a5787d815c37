"""Posts one message to an address that the operator allows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from service.values.addresses import Address, AllowedAddresses, WebAddress

_SECONDS = 10.0  # for everything: the name, the connection, the answer's head
_GONE = 410


@dataclass(frozen=True, slots=True)
class Posted:
    """How an attempt ended.

    Attributes:
        error: why it failed; None if the receiver has the message.
        final: whether the receiver does not want it at all.
    """

    error: str | None = None
    final: bool = False


def new_client() -> httpx.AsyncClient:
    """A client that follows neither redirects nor the proxies of the environment."""
    return httpx.AsyncClient(
        timeout=_SECONDS,
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


async def post(
    client: httpx.AsyncClient,
    allowed: AllowedAddresses,
    url: str,
    body: bytes,
    headers: dict[str, str],
) -> Posted:
    """Post a message once.

    The name is resolved here, every address it has is checked, and the connection goes to one of
    these, so a name cannot change its mind in between.

    Args:
        client: of :func:`new_client`.
        allowed: what the operator allows.
        url: where to.
        body: JSON.
        headers: of the message.

    Returns:
        How it ended. Of the answer, only the status is read.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            target = WebAddress.read(url)
            if not allowed.covers(target):
                return Posted("REID_WEBHOOKS does not allow this address")
            addresses = await _resolved(allowed, target)
            return await _send_to_any(client, url, addresses, body, headers)
    except TimeoutError:
        return Posted(f"no answer within {_SECONDS:g} s")
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        return Posted(f"{type(error).__name__}: {error}"[:200])


async def _resolved(allowed: AllowedAddresses, target: WebAddress) -> list[Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
    for address in addresses:
        if not allowed.may_connect(target, address):
            raise ValueError(f"{target.host} is {address}, which REID_WEBHOOKS does not allow")
    return addresses


async def _send_to_any(
    client: httpx.AsyncClient,
    url: str,
    addresses: Sequence[Address],
    body: bytes,
    headers: dict[str, str],
) -> Posted:
    """Send to the first address that accepts a connection, as one of IPv6 may not."""
    *others, last = addresses
    for address in others:
        with suppress(httpx.ConnectError):
            return await _send(client, url, address, body, headers)
    return await _send(client, url, last, body, headers)


async def _send(
    client: httpx.AsyncClient, url: str, address: Address, body: bytes, headers: dict[str, str]
) -> Posted:
    named = httpx.URL(url)
    request = client.build_request(
        "POST",
        named.copy_with(host=str(address)),
        content=body,
        headers={
            **headers,
            "Host": named.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": "hhcl-reid",
        },
        extensions={"sni_hostname": named.host},  # whose certificate is checked
    )
    response = await client.send(request, stream=True)
    await response.aclose()
    if response.is_success:
        return Posted()
    error = f"the receiver answered {response.status_code}"
    if response.has_redirect_location:
        error += ", and redirects are not followed"
    return Posted(error, final=response.status_code == _GONE)
