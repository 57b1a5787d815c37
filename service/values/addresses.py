"""Addresses that the service may post to: what an operator allows, and what a name resolves to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

Address = IPv4Address | IPv6Address

_PORTS = {"http": 80, "https": 443}
LAST_PORT = 65_535
HOST = r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?"
"""A name or an address, and a port if it is given, as a regular expression."""
# Narrower than RFC 3986, so that no two programs read an address differently.
_URL = re.compile(
    rf"(?P<scheme>https?)://{HOST}"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?"
    r"(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)|%2f|%5c|%00", re.IGNORECASE)
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An address of HTTP.

    Attributes:
        scheme: ``http`` or ``https``.
        host: a name in small letters, or an address without brackets.
        port: given, or the scheme's.
        path: begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def read(cls, text: str) -> Self:
        """Read an address.

        Args:
            text: ``http://`` or ``https://``, a host, and optionally a port, a path and a query,
                without user, password or fragment.

        Returns:
            The address.

        Raises:
            ValueError: the message shows the text and what is allowed.
        """
        found = _URL.fullmatch(text)
        port = found and (int(found["port"]) if found["port"] else _PORTS[found["scheme"]])
        if not found or not port or port > LAST_PORT or _DOTS.search(found["path"] or ""):
            raise ValueError(
                f"{text[:80]!r} must be https://HOST/PATH or http://HOST:PORT/PATH, in ASCII, "
                "without user, fragment and dot segments"
            )
        host = found["host"].strip("[]").lower().rstrip(".")
        return cls(found["scheme"], host, port, found["path"] or "/")

    @property
    def literal(self) -> Address | None:
        """The address that the host is; None if it is a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    def begins_with(self, prefix: WebAddress) -> bool:
        """Whether this is the address of a prefix, or lies below it."""
        same = (self.scheme, self.host, self.port) == (prefix.scheme, prefix.host, prefix.port)
        below = prefix.path if prefix.path.endswith("/") else f"{prefix.path}/"
        return same and (self.path == prefix.path or self.path.startswith(below))


@dataclass(frozen=True, slots=True)
class AllowedAddresses:
    """The addresses that an operator allows.

    Attributes:
        prefixes: only addresses that begin with one of these.
        networks: networks that are not public, and may be connected to.
    """

    prefixes: tuple[WebAddress, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def read(cls, entries: Iterable[str]) -> Self:
        """Read the entries of a setting.

        Args:
            entries: addresses that begin with ``http://`` or ``https://``, and networks such as
                ``10.1.0.0/16``.

        Returns:
            What they allow.

        Raises:
            ValueError: an entry is neither.
        """
        prefixes, networks = list[WebAddress](), list[IPv4Network | IPv6Network]()
        for entry in entries:
            if entry.startswith(("http://", "https://")):
                prefixes.append(WebAddress.read(entry))
            else:
                networks.append(_network(entry))
        return cls(tuple(prefixes), tuple(networks))

    def covers(self, url: WebAddress) -> bool:
        """Whether an address begins with an allowed one."""
        return any(url.begins_with(prefix) for prefix in self.prefixes)

    def may_connect(self, url: WebAddress, address: Address) -> bool:
        """Whether to connect to what the host of an allowed address has resolved to.

        Args:
            url: an allowed address.
            address: one that its host has.

        Returns:
            True if it is public, or in an allowed network, or the host itself is this address.
        """
        inner = _innermost(address)
        listed = any(one.version == inner.version and inner in one for one in self.networks)
        return listed or url.literal == address or is_public(inner)


def is_public(address: Address) -> bool:
    """Whether an address belongs to one host of the Internet.

    Addresses of this machine, of private networks, of a link and of groups do not; neither does an
    IPv6 address that stands for such an IPv4 address.
    """
    inner = _innermost(address)
    return inner.is_global and not (inner.is_multicast or inner.is_reserved)


def _innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(entry)
    except ValueError:
        raise ValueError(
            f"{entry[:80]!r} is neither an address that begins with http:// or https:// nor a "
            "network such as 10.1.0.0/16"
        ) from None
