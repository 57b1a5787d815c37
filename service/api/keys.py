"""Requests and answers about keys and the audit log."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import Body, Cursor, Timestamp
from service.values.vocabulary import Scope


class KeyRecord(BaseModel):
    """A key, without its secret."""

    key_id: str = Field(examples=["1f0e7c2d"])
    label: str
    scope: Scope
    galleries: list[str] | None = Field(description="the only galleries it is for; null: all")
    requests_per_minute: int | None = Field(
        description="its own limit; null: REID_REQUESTS_PER_MINUTE"
    )
    created: float = Field(description="seconds since 1970-01-01 UTC")
    expires: float | None
    revoked: float | None
    last_used: float | None = Field(description="accurate to the hour")


class CreatedKey(KeyRecord):
    """A new key with its text, which is shown only once."""

    key: str = Field(description="send it as `Authorization: Bearer`; it cannot be shown again")


class Keys(BaseModel):
    """Every key, oldest first."""

    keys: list[KeyRecord]
    file: str = Field(
        description="the file in which the service keeps them", examples=["/data/access.sqlite3"]
    )


class WhoAmI(BaseModel):
    """Who the caller is to the service."""

    anonymous: bool = Field(description="no key was sent, or no key is needed")
    key_id: str | None
    label: str | None
    scope: Scope = Field(description="`open`: everything else needs a key")
    galleries: list[str] | None = Field(description="null: all")
    expires: float | None


class AuditQuery(Body):
    """``GET /audit``."""

    since: Timestamp | None = Field(default=None, description="only entries of this time or later")
    until: Timestamp | None = Field(default=None, description="only entries before this time")
    limit: int = Field(default=100, ge=1, le=1000, description="maximum entries per page")
    cursor: Cursor | None = Field(default=None, description="cursor of the previous page")


class AuditRecord(BaseModel):
    """Who searched or changed what, and when."""

    time: float = Field(description="when the request was answered, seconds since 1970-01-01 UTC")
    request_id: str
    key_id: str | None = Field(description="null: no key was sent")
    method: str = Field(description="the HTTP method, or CLI for a command")
    route: str = Field(
        description="the route's template, never the path itself", examples=["/search"]
    )
    gallery: str | None
    target: str | None = Field(
        description="the key, snapshot, job, watch or model that was acted on; for a restore, the "
        "gallery that was written"
    )
    scope: Scope | None = Field(description="the scope of a key that was created or revoked")
    galleries: list[str] | None = Field(
        description="the first hundred galleries of that key; null: all"
    )
    status: int
    crops: int | None = Field(description="crops returned or changed, if the route counts them")
    queries: list[str] = Field(description="SHA-256 of each query image")
    refused: str | None = Field(description="why a key was rejected")
    address: str | None = Field(description="the client's address, if the key was not recognised")


class AuditAnswer(BaseModel):
    """One page of the audit log, oldest first."""

    entries: list[AuditRecord]
    cursor: str | None = Field(description="pass it to get the next page; null on the last page")
