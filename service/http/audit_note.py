"""What a route tells the audit log about its request."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.access.key_file import Key


@dataclass(slots=True)
class AuditNote:
    """What only the route knows about a request; the access middleware logs it.

    Attributes:
        gallery: the gallery, if the path does not name it.
        target: what was acted on, if the path does not name it: a key, or a restored gallery.
        key: the key that was created or revoked.
        crops: how many crops were returned or changed.
        queries: SHA-256 of each query's file or embedding, in hexadecimal.
    """

    gallery: str | None = None
    target: str | None = None
    key: Key | None = None
    crops: int | None = None
    queries: list[str] = field(default_factory=list)
