"""An entry of the audit log, and the one place that decides what it may contain.

Clients choose some texts that end up in entries: the gallery in a form, a request id, an address.
A value that breaks the rule of its field is left out here, whatever its source. So no entry holds
free text from a client, and the size of each entry is bounded.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from service.access.caller import plain_address
from service.access.rules import METHODS
from service.gallery.rules import is_name

MAX_LINE = 96 * 1024
"""Most bytes of an entry on disk: enough for 1,000 queries, the most that a setting allows."""

_MAX_QUERIES = 1000
_MAX_GALLERIES = 100
_OTHER = "other"
_METHODS = METHODS | {"CLI"}
_SCOPES = frozenset({"search", "write", "admin"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ROUTE = re.compile(r"[A-Za-z0-9 /{}._-]{1,128}")
_HEX = re.compile(r"[0-9a-f]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Keys, jobs, watches and models have hexadecimal ids; ids of snapshots also contain their time.
_TARGET = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}|\d{8}T\d{9}-[0-9a-f]{4}", re.ASCII)
_REASON = re.compile(r"[A-Za-z0-9 .,:;'()_-]{1,160}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One request, or one command.

    Attributes:
        time: when it was answered, seconds since 1970-01-01 UTC.
        method: the HTTP method, or ``CLI``.
        route: the route's template, or the command; never a path, which may name a crop.
        request_id: as in the answer and the process log; empty for a command.
        key_id: the valid key that was sent; None without a key.
        gallery: the gallery, if its name is valid.
        target: the key, snapshot, job, watch or model that was acted on; for a restore, the gallery
            that was written.
        scope: scope of the key that was created or revoked.
        galleries: the first hundred galleries that this key is bound to; None for all.
        status: the HTTP status; 200 for a command that succeeded.
        crops: number of crops returned or changed, if the route counts them.
        queries: SHA-256 of each query's file, in hexadecimal.
        refused: why a key was rejected.
        address: the client's address; only for rejected keys.
    """

    time: float
    method: str
    route: str
    request_id: str = ""
    key_id: str | None = None
    gallery: str | None = None
    target: str | None = None
    scope: str | None = None
    galleries: tuple[str, ...] | None = None
    status: int = 200
    crops: int | None = None
    queries: tuple[str, ...] = ()
    refused: str | None = None
    address: str | None = None


def is_request_id(text: str) -> bool:
    """Whether a text from a client may be its request's id in answers and in both logs."""
    return _REQUEST_ID.fullmatch(text) is not None


def checked(entry: AuditEntry) -> AuditEntry:
    """Remove from an entry every value that breaks the rule of its field.

    Args:
        entry: any entry.

    Returns:
        The entry with only valid names, addresses, ids and numbers, each bounded.

    Raises:
        TypeError: a numeric field is not a number.
        ValueError: the time is not finite.
    """
    if not math.isfinite(entry.time):
        raise ValueError(f"time must be a number of seconds, got {entry.time}")
    galleries = entry.galleries
    return replace(
        entry,
        method=entry.method if entry.method in _METHODS else _OTHER,
        route=_fitting(_ROUTE, entry.route) or _OTHER,
        request_id=_fitting(_REQUEST_ID, entry.request_id) or "",
        key_id=_fitting(_HEX, entry.key_id),
        gallery=_name(entry.gallery),
        target=_fitting(_TARGET, entry.target),
        scope=entry.scope if entry.scope in _SCOPES else None,
        galleries=None if galleries is None else _names(galleries),
        status=_count(entry.status),
        crops=None if entry.crops is None else _count(entry.crops),
        queries=tuple(q for q in entry.queries[:_MAX_QUERIES] if _fitting(_DIGEST, q)),
        refused=_fitting(_REASON, entry.refused),
        address=_address(entry.address),
    )


def line_of(entry: AuditEntry) -> bytes:
    """An entry as a line of the log.

    Args:
        entry: anything; see :func:`checked`.

    Returns:
        ASCII, at most ``MAX_LINE`` bytes, with its end of line.
    """
    fields = asdict(checked(entry))
    told = {name: value for name, value in fields.items() if value not in ((), None)}
    if entry.galleries == ():
        told["galleries"] = ()
    line = json.dumps(told).encode() + b"\n"
    if len(line) > MAX_LINE:  # impossible unless the rules of the fields are wrong
        raise ValueError(f"an entry has {len(line)} bytes, but at most {MAX_LINE} are allowed")
    return line


def entry_of(line: bytes) -> AuditEntry | None:
    """Parse a line, and check the entry again, because older releases did not check it.

    Args:
        line: with its end of line.

    Returns:
        The entry; None if the line is not an entry.
    """
    try:
        fields = json.loads(line)
        fields["queries"] = tuple(fields.get("queries", ()))
        if (galleries := fields.get("galleries")) is not None:
            fields["galleries"] = tuple(galleries)
        return checked(AuditEntry(**fields))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _fitting(pattern: re.Pattern[str], text: object) -> str | None:
    return text if isinstance(text, str) and pattern.fullmatch(text) else None


def _name(text: object) -> str | None:
    return text if isinstance(text, str) and is_name(text) else None


def _names(texts: Iterable[object]) -> tuple[str, ...]:
    named = (name for text in texts if (name := _name(text)) is not None)
    return tuple(name for name, _ in zip(named, range(_MAX_GALLERIES), strict=False))


def _count(number: int) -> int:
    return min(max(int(number), 0), 1 << 53)  # larger integers are not exact in every JSON reader


def _address(text: object) -> str | None:
    address = plain_address(text) if isinstance(text, str) else None
    return None if address is None else str(address)
