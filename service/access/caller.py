"""Who is asking, and what they may do."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from service.errors import Forbidden
from service.gallery.rules import is_name
from service.values import vocabulary

Scope = vocabulary.Scope
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SCOPES: tuple[Scope, ...] = ("open", "search", "write", "admin")  # each includes those before it
_LONGEST_ADDRESS = 64  # characters; with a zone, such as fe80::1%eth0


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        key_id: the key that was sent; None without one.
        scope: the most they may do.
        galleries: the only galleries they may touch; None for all.
    """

    key_id: str | None
    scope: Scope
    galleries: frozenset[str] | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the caller's scope includes another."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def sees(self, gallery: str | None) -> bool:
        """Whether a gallery is one of the caller's; ``None`` belongs to no gallery."""
        return self.galleries is None or gallery in self.galleries

    def require_scope(self, scope: Scope) -> None:
        """Make sure that the caller's scope includes another.

        Raises:
            Forbidden: it does not.
        """
        if not self.allows(scope):
            raise Forbidden(f"this needs a key of scope {scope}; this key's is {self.scope}")

    def require_gallery(self, gallery: str | None) -> None:
        """Make sure that the caller may touch a gallery, whether it exists or not.

        Raises:
            Forbidden: the key is bound to others.
        """
        if self.sees(gallery):
            return
        if gallery is not None and is_name(gallery):
            raise Forbidden(f"this key is not for gallery {gallery!r}")
        # A text of the client's choice and of any length: it is not repeated.
        raise Forbidden("this key is for other galleries; the one named has no gallery's name")

    def require_every_gallery(self) -> None:
        """Make sure that the caller is bound to no gallery.

        Raises:
            Forbidden: the key is bound to some.
        """
        if self.galleries is not None:
            raise Forbidden("this needs a key for all galleries; this one is bound to some")


def client_name(key_id: str | None, address: str) -> str:
    """Who pays for a request: whatever is shared out by client is shared out by this name.

    Args:
        key_id: the key that was sent and is known; None without one.
        address: where the request came from; may be empty.

    Returns:
        ``key 1f0e7c2d``, or ``address 192.0.2.7``. Of an IPv6 address the first 64 bits, since a
        host has all of the others to itself.
    """
    if key_id is not None:
        return f"key {key_id}"
    parsed = plain_address(address)
    if parsed is None:
        return "address unknown"
    if parsed.version == 4:
        return f"address {parsed}"
    return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"


def plain_address(text: str) -> Address | None:
    """Read an address that a client, a proxy or the system wrote.

    Args:
        text: ``192.0.2.7``, ``2001:db8::7``, ``fe80::1%eth0``, or anything.

    Returns:
        The address without its zone; IPv4 where it is IPv4 written as IPv6. None if it is none.
    """
    if len(text) > _LONGEST_ADDRESS:
        return None
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


EVERYONE = Caller(key_id=None, scope="admin")  # while there are no keys
NOBODY = Caller(key_id=None, scope="open", galleries=frozenset())  # no key sent, though there are
