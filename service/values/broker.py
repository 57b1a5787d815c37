"""The MQTT broker that an operator names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from service.values.addresses import HOST, LAST_PORT

DEFAULT_PREFIX = "hhcl-reid"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL = re.compile(
    r"(?P<scheme>mqtts?)://((?P<user>[^\s:@/]+)(:(?P<password>[^\s@/]*))?@)?"
    rf"{HOST}"
    r"(/(?P<prefix>[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?)?"
)


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker.

    Attributes:
        host: a name, or an address without brackets.
        port: given, or the scheme's.
        encrypted: whether the connection uses TLS.
        user: None for no login.
        password: of the user; None for none.
        prefix: every topic of the service begins with it.
    """

    host: str
    port: int
    encrypted: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    prefix: str = DEFAULT_PREFIX

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the address of a broker.

        Args:
            text: ``mqtt://USER:PASSWORD@HOST:PORT/PREFIX``, or ``mqtts://`` for TLS. All but the
                host may be missing; in user and password, other signs than letters and digits may
                be percent-encoded.

        Returns:
            The broker.

        Raises:
            ValueError: the message says what is allowed, and does not repeat the password.
        """
        found = _URL.fullmatch(text)
        port = found and int(found["port"] or _PORTS[found["scheme"]])
        if not found or not port or port > LAST_PORT:
            raise ValueError(
                "must be mqtt://HOST or mqtts://USER:PASSWORD@HOST:PORT/PREFIX, with a prefix of "
                "letters, digits, -, _ and /; percent-encode other signs in user and password"
            )
        user, password = (
            None if found[name] is None else unquote(found[name]) for name in ("user", "password")
        )
        prefix = found["prefix"] or DEFAULT_PREFIX
        host = found["host"].strip("[]")
        return cls(host, port, found["scheme"] == "mqtts", user, password, prefix)
