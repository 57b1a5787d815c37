"""A request as data: described once, sent by the blocking and by the asynchronous client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from service.client.errors import InvalidInput
from service.values.gallery_names import gallery_name_of
from service.values.names import id_of

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
Page = TypeVar("Page")
Item = TypeVar("Item")

Time = str | float | datetime
"""ISO 8601, seconds since 1970-01-01 UTC, or a datetime; without a zone ``zone`` or UTC is used."""

Repeat = Literal["always", "refused", "unsent", "never"]
"""When a request may be sent again.

``always``: doing it twice is harmless. ``refused``: only if the service did not begin to do it, so
after 429 or ``overloaded``, or without a connection. ``unsent``: only without a connection, because
the body can be read once. ``never``: the answer of this moment is wanted.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request and the reading of its answer.

    Attributes:
        method: of HTTP.
        path: below the service's address, percent-encoded.
        read: makes the result from a successful answer.
        query: parameters; a list repeats one.
        headers: beyond the client's own.
        body: makes the arguments of httpx that carry the body, anew for each attempt.
        repeat: when the request may be sent again.
        into: a file to stream the answer's body to, instead of holding it in memory.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Mapping[str, Any]] = dict
    repeat: Repeat = "refused"
    into: Path | None = None


@dataclass(frozen=True, slots=True)
class Paged(Generic[Page, Item]):
    """A listing of several pages.

    Attributes:
        call: asks for the first page.
        items: what one page holds.
        cursor: asks for the next page; None on the last one.
    """

    call: Call[Page]
    items: Callable[[Page], Sequence[Item]]
    cursor: Callable[[Page], str | None]

    def after(self, page: Page) -> Call[Page] | None:
        """The request for the page that follows."""
        cursor = self.cursor(page)
        if cursor is None:
            return None
        return replace(self.call, query={**self.call.query, "cursor": cursor})


@dataclass(frozen=True, slots=True)
class Listening(Generic[Item]):
    """A stream of server-sent events.

    Attributes:
        call: opens it.
        read: makes an item from the data of one event.
    """

    call: Call[None]
    read: Callable[[str], Item]


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that only waits.

    Attributes:
        seconds: how long.
    """

    seconds: float


Steps = Generator[Call[Any] | Pause, Any, T]
"""Several requests in a row: yields each, receives its result or exception, returns the outcome."""


def get(path: str, answer: type[Model], query: Mapping[str, Any] | None = None) -> Call[Model]:
    """Describe a request that only reads.

    Args:
        path: see :func:`at`.
        answer: the model of the answer.
        query: parameters; those that are None are left out.

    Returns:
        The request.
    """
    return Call(
        method="GET", path=path, read=as_model(answer), query=given(query or {}), repeat="always"
    )


def send_json(
    method: str,
    path: str,
    answer: type[Model],
    body: Mapping[str, Any],
    *,
    repeat: Repeat = "refused",
) -> Call[Model]:
    """Describe a request with a JSON body.

    Args:
        method: of HTTP.
        path: see :func:`at`.
        answer: the model of the answer.
        body: its fields, datetimes among them.
        repeat: when it may be sent again.

    Returns:
        The request.
    """
    fields = {name: plain(value) for name, value in body.items()}
    return Call(
        method=method,
        path=path,
        read=as_model(answer),
        body=lambda: {"json": fields},
        repeat=repeat,
    )


def as_model(answer: type[Model]) -> Callable[[httpx.Response], Model]:
    """A reader of JSON answers of one model; fields of a newer service are ignored."""
    return lambda response: answer.model_validate_json(response.content, extra="ignore")


def nothing(_response: httpx.Response) -> None:
    """The reader of answers without a body."""


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields that are not None, with datetimes as text."""
    return {name: plain(value) for name, value in fields.items() if value is not None}


def plain(value: Any) -> Any:
    """A value as JSON, a query or a form carries it."""
    return value.isoformat() if isinstance(value, datetime) else value


def at(template: str, **names: str) -> str:
    """Fill a path.

    Args:
        template: such as ``/galleries/{gallery}/crops/{crop_id}``.
        names: what stands for each name in braces.

    Returns:
        The path, percent-encoded.

    Raises:
        InvalidInput: a name breaks its rule. It is not sent, because it would mean another path.
    """
    return template.format_map({name: _segment(name, text) for name, text in names.items()})


def _segment(name: str, text: str) -> str:
    try:
        match name:
            case "gallery":
                return gallery_name_of(text)
            case "crop_id":
                return quote(id_of(text), safe="/")
    except ValueError as error:
        raise InvalidInput(f"Invalid input: {error}") from None
    if not text or not text.replace("-", "").replace("_", "").isalnum():
        raise InvalidInput(f"Invalid input: {name} {text[:80]!r}: only letters, digits, - and _")
    return quote(text, safe="")
