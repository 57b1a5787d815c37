"""The caller of a request, and what it may do."""

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
    """The sender of a request.

    Attributes:
        key_id: the key that was sent; None without a key.
        scope: the highest scope it may use.
        galleries: the only galleries it may access; None for all.
    """

    key_id: str | None
    scope: Scope
    galleries: frozenset[str] | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether the caller's scope includes another."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def sees(self, gallery: str | None) -> bool:
        """Whether the caller may access a gallery; None stands for no gallery."""
        return self.galleries is None or gallery in self.galleries

    def require_scope(self, scope: Scope) -> None:
        """Check that the caller's scope includes another.

        Raises:
            Forbidden: it does not.
        """
        if not self.allows(scope):
            raise Forbidden(f"this needs a key of scope {scope}; this key has scope {self.scope}")

    def require_gallery(self, gallery: str | None) -> None:
        """Check that the caller may access a gallery, which need not exist.

        Raises:
            Forbidden: the key is bound to other galleries.
        """
        if self.sees(gallery):
            return
        if gallery is not None and is_name(gallery):
            raise Forbidden(f"this key is not for gallery {gallery!r}")
        # The client chose this text, which may have any length: it is not repeated.
        raise Forbidden("this key is for other galleries, and the name sent is not a gallery name")

    def require_every_gallery(self) -> None:
        """Check that the caller may access all galleries.

        Raises:
            Forbidden: the key is bound to some galleries.
        """
        if self.galleries is not None:
            raise Forbidden("this needs a key for all galleries; this key is only for some")


def client_name(key_id: str | None, address: str) -> str:
    """The name under which quotas and limits of a client are counted.

    Args:
        key_id: the valid key that was sent; None without a key.
        address: where the request came from; may be empty.

    Returns:
        ``key 1f0e7c2d``, or ``address 192.0.2.7``. For an IPv6 address, only its first 64 bits,
        since one host usually owns all the others.
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
    """Parse an address that a client, a proxy or the system wrote.

    Args:
        text: ``192.0.2.7``, ``2001:db8::7``, ``fe80::1%eth0``, or any other text.

    Returns:
        The address without its zone; an IPv4 address mapped to IPv6 is returned as IPv4. None if
        the text is not an address.
    """
    if len(text) > _LONGEST_ADDRESS:
        return None
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


EVERYONE = Caller(key_id=None, scope="admin")  # while no key exists
NOBODY = Caller(key_id=None, scope="open", galleries=frozenset())  # keys exist, but none was sent
