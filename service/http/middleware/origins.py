"""Pages from another origin must not use a service that needs no key.

A browser sends requests to this machine on behalf of any page that is open in it. While no key
exists, two headers that pages cannot forge reveal such requests: ``Origin``, and ``Host``, which
holds the page's own name if that name was made to resolve to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from service.errors import Forbidden

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:@/\[\]]+))(?::\d*)?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # other origins cannot read their answers


class Origins:
    """Which origins and hosts are ours.

    Args:
        allowed: origins whose pages may call the service, such as ``https://reid.example``.
        beyond_loopback: the operator allows every client that can reach the port.
    """

    def __init__(self, allowed: Sequence[str], *, beyond_loopback: bool) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._beyond_loopback = beyond_loopback

    def check(self, method: str, headers: Headers) -> None:
        """Reject requests that a page from another origin sends.

        Args:
            method: of the request.
            headers: of the request.

        Raises:
            Forbidden: ``Host`` is not ours, or ``Origin`` is neither ours nor allowed.
        """
        host = headers.get("Host", "").lower()
        if host and not self._is_ours(_hostname(host)):
            raise Forbidden(
                f"host {host[:80]!r} is not this machine, and no key exists: create a key, or add "
                "the service's address to REID_CORS_ORIGINS"
            )
        origin = headers.get("Origin")
        if origin is None or method in _SAFE:
            return
        if origin.lower().partition("://")[2] != host and not self._lets_in(origin.lower()):
            raise Forbidden(f"pages from {origin[:80]!r} may not call this service")

    def _is_ours(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            loopback = ipaddress.ip_address(name).is_loopback
        except ValueError:
            # A name without a dot belongs to a local network; nobody can register one.
            return self._beyond_loopback and "." not in name
        return loopback or self._beyond_loopback

    def _lets_in(self, origin: str) -> bool:
        return origin in self._allowed or "*" in self._allowed


def _hostname(host: str) -> str:
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]) if found else ""
