"""The client has a method for every route of the API, and an argument for every field."""

from __future__ import annotations

import inspect
import re
import typing
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import AsyncClient, Client
from service.client.call import Call, Listening
from service.client.routes import Conversation, Pages, Route, Stream
from service.http.app import api

Operation = tuple[str, str]

SAMPLES: dict[str, Any] = {
    "gallery": "g",
    "crop_id": "a/b.png",
    "image": b"",
    "images": b"",
    "crops": [],
    "frames": [],
    "body": b"",
    "vectors": [],
    "embedding": [1.0],
    "folder": Path(__file__).parent,
    "path": Path("backup"),
    "job_id": "1f",
    "key_id": "1f",
    "sha256": "1f",
    "snapshot_id": "20261121T081500123-9f3c",
    "crop_ids": ["a"],
    "identity": "anna",
    "identities": ["anna"],
    "into": "anna",
    "model": "m",
    "label": "l",
    "scope": "search",
    "watch_for": "unknown",
    "watch_id": "1f",
    "event_id": "1f",
}
OTHER_NAMES = {
    "name": "gallery",  # of a new gallery
    "idempotency-key": "idempotency_key",
    "last-event-id": "after",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return api()[1]


def methods() -> Iterator[tuple[str, Any]]:
    """Every method of the client, with its description."""
    client = Client("http://127.0.0.1:1")
    for group in (client, *(found for found in vars(client).values() if hasattr(found, "sender"))):
        for kind in reversed(type(group).__mro__):
            for name, found in vars(kind).items():
                if isinstance(found, Route | Conversation | Pages | Stream):
                    yield f"{type(group).__name__}.{name}", found
    client.close()


def called(route: Route[Any, Any] | Stream[Any, Any]) -> Call[Any]:
    needed = [
        parameter
        for parameter in inspect.signature(route.describe).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    described = route.describe(*(SAMPLES[parameter.name] for parameter in needed))
    return described.call if isinstance(described, Listening) else described


def accepted(route: Route[Any, Any]) -> set[str]:
    """The names of everything a method takes."""
    hints = typing.get_type_hints(route.describe, include_extras=True)
    names = {name for name in hints if name != "return"}
    for hint in hints.values():
        for inner in (hint, *typing.get_args(hint)):
            names |= set(getattr(inner, "__annotations__", {}))
    return names


def operation_of(call: Call[Any], document: dict[str, Any]) -> Operation:
    (template,) = {
        template
        for template, found in document["paths"].items()
        if re.fullmatch(re.sub(r"\{[^/]+\}", "[^/]+", template), call.path.replace("a/b", "a-b"))
        and call.method.lower() in found
    }
    return call.method, template


def schema_of(found: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in found:
        return found
    schema: dict[str, Any] = document["components"]["schemas"][found["$ref"].rpartition("/")[2]]
    return schema


def fields_of(operation: dict[str, Any], document: dict[str, Any]) -> set[str]:
    names = {given["name"] for given in operation.get("parameters", ())}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        for found in (schema, *schema.get("anyOf", ())):
            names |= set(schema_of(found, document).get("properties", ()))
    return names


def test_every_route_has_a_method_and_every_field_an_argument(document):
    arguments: dict[Operation, set[str]] = defaultdict(set)
    for name, found in methods():
        if isinstance(found, Route | Stream):
            operation = operation_of(called(found), document)
            arguments[operation] |= accepted(found)
            if name == "Galleries.forecast":
                arguments[operation] |= {"dry_run"}  # what this method is for
            if name in {"Crops.add", "Crops.add_frames"}:
                arguments[operation] |= {"images"}  # each beside what describes it
    routes = {
        (method.upper(), template): fields_of(operation, document)
        for template, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert set(arguments) == set(routes)
    missing = {
        operation: lacking
        for operation, fields in routes.items()
        if (lacking := {OTHER_NAMES.get(name, name) for name in fields} - arguments[operation])
    }
    assert not missing


def test_every_method_says_what_it_does_under_its_own_name():
    for name, found in methods():
        assert found.__qualname__.endswith(name.rpartition(".")[2])
        assert found.describe.__doc__, name


def test_both_clients_have_the_same_methods():
    blocking, awaiting = Client("http://127.0.0.1:1"), AsyncClient("http://127.0.0.1:1")
    public = [name for name in dir(blocking) if not name.startswith("_")]
    assert public == [name for name in dir(awaiting) if not name.startswith("_")]
    assert type(blocking.crops) is type(awaiting.crops)
    blocking.close()
