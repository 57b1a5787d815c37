"""What requests and answers about keys and the audit log carry."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import Body, Cursor, Timestamp
from service.values.vocabulary import Scope


class KeyRecord(BaseModel):
    """A key, without its secret."""

    key_id: str = Field(examples=["1f0e7c2d"])
    label: str
    scope: Scope
    galleries: list[str] | None = Field(description="the only galleries it is for; null for all")
    requests_per_minute: int | None = Field(description="null for REID_REQUESTS_PER_MINUTE")
    created: float = Field(description="seconds since 1970-01-01 UTC")
    expires: float | None
    revoked: float | None
    last_used: float | None = Field(description="to the hour")


class CreatedKey(KeyRecord):
    """A new key, with its text for the only time."""

    key: str = Field(description="sent as Authorization: Bearer; told this once")


class Keys(BaseModel):
    """Every key, the oldest first."""

    keys: list[KeyRecord]
    file: str = Field(description="where the service keeps them", examples=["/data/access.sqlite3"])


class WhoAmI(BaseModel):
    """Who the service takes the caller for."""

    anonymous: bool = Field(description="no key was sent, or none is needed")
    key_id: str | None
    label: str | None
    scope: Scope = Field(description="open: a key is needed for anything but this")
    galleries: list[str] | None = Field(description="null for all")
    expires: float | None


class AuditQuery(Body):
    """``GET /audit``."""

    since: Timestamp | None = Field(default=None, description="entries of this time or later")
    until: Timestamp | None = Field(default=None, description="entries before this time")
    limit: int = Field(default=100, ge=1, le=1000, description="most entries of this page")
    cursor: Cursor | None = Field(default=None, description="the previous page's cursor")


class AuditRecord(BaseModel):
    """Who searched or changed what, and when."""

    time: float = Field(description="when it was answered, seconds since 1970-01-01 UTC")
    request_id: str
    key_id: str | None = Field(description="null without a key")
    method: str = Field(description="of HTTP, or CLI")
    route: str = Field(description="its template, never the path", examples=["/search"])
    gallery: str | None
    target: str | None = Field(
        description="the key, snapshot, job or model that was acted on; of a restore, the gallery "
        "that was written"
    )
    scope: Scope | None = Field(description="of a key that was made or revoked")
    galleries: list[str] | None = Field(
        description="the first hundred galleries that key is bound to; null for all"
    )
    status: int
    crops: int | None = Field(description="returned or changed, where the route counts them")
    queries: list[str] = Field(description="SHA-256 of each query's file")
    refused: str | None = Field(description="why a key was refused")
    address: str | None = Field(description="of the client, where its key was none")


class AuditAnswer(BaseModel):
    """Part of the audit log, the oldest first."""

    entries: list[AuditRecord]
    cursor: str | None = Field(description="asks for what follows; null at the end")
