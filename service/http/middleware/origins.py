"""Web pages of elsewhere must not use a service that asks for no key.

A browser sends requests to this machine for any page that is open in it. As long as there is no
key, two headers that pages cannot forge tell such requests apart: ``Origin``, and ``Host``, which
holds the page's own name where that was made to point here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from service.errors import Forbidden

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:@/\[\]]+))(?::\d*)?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # what they answer no other origin can read


class Origins:
    """Which origins and hosts are ours.

    Args:
        allowed: origins whose pages may call the service, ``https://reid.example``.
        beyond_loopback: the operator lets everybody in who reaches the port.
    """

    def __init__(self, allowed: Sequence[str], *, beyond_loopback: bool) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._hosts = {urlsplit(origin).hostname for origin in self._allowed}
        self._beyond_loopback = beyond_loopback

    def check(self, method: str, headers: Headers) -> None:
        """Refuse what a page of elsewhere sends.

        Args:
            method: of the request.
            headers: its headers.

        Raises:
            Forbidden: ``Host`` is not ours, or ``Origin`` is not where the request goes to.
        """
        host = headers.get("Host", "").lower()
        if host and not self._is_ours(_hostname(host)):
            raise Forbidden(
                f"host {host[:80]!r} is not this machine, and there is no key: create a key, or "
                "name the service's address in REID_CORS_ORIGINS"
            )
        origin = headers.get("Origin")
        if origin is None or method in _SAFE:
            return
        if origin.lower().partition("://")[2] != host and not self._lets_in(origin.lower()):
            raise Forbidden(f"pages of {origin[:80]!r} may not call this service")

    def _is_ours(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            loopback = ipaddress.ip_address(name).is_loopback
        except ValueError:
            # Names without a dot are those of a local network; nobody can buy one.
            return self._beyond_loopback and "." not in name
        return loopback or self._beyond_loopback

    def _lets_in(self, origin: str) -> bool:
        return origin in self._allowed or "*" in self._allowed


def _hostname(host: str) -> str:
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]) if found else ""
