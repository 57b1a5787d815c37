"""Of every route: a field that is a list may be repeated, any other is given once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.params import Form, Query
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Json
from pydantic.fields import FieldInfo

from service.http.app import api
from service.testing import solid

PICTURES = [solid((200, 20, 20)), solid((20, 200, 20))]


class Field(NamedTuple):
    """A field of a route, as its function reads it."""

    method: str
    path: str
    carrier: str
    name: str
    is_list: bool


@pytest.fixture(scope="module")
def fields() -> list[Field]:
    """Every field of every query and form, as the routes' own models have them."""
    routes = [one.route for one in iter_route_contexts(api()[0]) if hasattr(one, "route")]
    return [
        Field(method, route.path.replace(":path", ""), carrier, name, is_list(info))
        for route in routes
        for carrier, name, info in read_by(getattr(route, "dependant", Dependant()))
        for method in route.methods
    ]


def read_by(dependant: Dependant) -> Iterator[tuple[str, str, FieldInfo]]:
    """What a function and its dependencies read."""
    for one in (*dependant.query_params, *dependant.body_params):
        kinds = {Query: "query", Form: "form"}
        carrier = next((kinds[kind] for kind in kinds if isinstance(one.field_info, kind)), None)
        model = one.field_info.annotation
        if carrier is None:  # a JSON body
            continue
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((carrier, name, info) for name, info in model.model_fields.items())
        else:
            yield carrier, one.alias, one.field_info
    for inner in dependant.dependencies:
        yield from read_by(inner)


def is_list(field: FieldInfo) -> bool:
    return "list[" in str(field.annotation) and Json not in field.metadata


def told(service, field: Field) -> str | None:
    """What the service says about a field with two values, if it rejects the request."""
    path = field.path.format(gallery="nobody", crop_id="a")
    values = {field.name: ["1", "2"]}
    if field.carrier == "query":
        sent = {"params": values}
    elif field.name in {"image", "images"}:
        sent = {"files": [(field.name, picture) for picture in PICTURES]}
    else:
        sent = {"data": values, "files": {"image": PICTURES[0]}}
    detail: str | None = service.http.request(field.method, path, **sent).json().get("detail")
    return detail


def test_only_lists_may_be_repeated(service, fields):
    kinds = {(field.carrier, field.is_list) for field in fields}
    assert len(kinds) == 4, fields
    for field in fields:
        rejected = told(service, field) == f"{field.name} has 2 values: give it once"
        assert rejected != field.is_list, field


def test_the_same_name_may_be_a_list_of_one_route_only(service, fields):
    assert {field.is_list for field in fields if field.name == "tracks"} == {True, False}
