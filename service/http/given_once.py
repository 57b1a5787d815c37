"""Reject a second value for a field that takes one: FastAPI would silently drop the first.

The API document says which fields of a route are lists, so that none has to be named here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from fastapi import Request

from service.errors import InvalidInput
from service.http.operation import Node, operation_of


async def query_given_once(request: Request) -> None:
    """Reject a query that gives one parameter two values. Raises InvalidInput."""
    given = request.query_params.multi_items()
    if given:
        parameters = operation_of(request).get("parameters", ())
        schemas = {one["name"]: one["schema"] for one in parameters if one["in"] == "query"}
        _require_one_value(given, schemas)


async def form_given_once(request: Request) -> None:
    """Reject a form that gives one field two values. Raises InvalidInput."""
    form = operation_of(request)["requestBody"]["content"]["multipart/form-data"]["schema"]
    schemas = request.app.openapi()["components"]["schemas"]
    fields = schemas[form["$ref"].rpartition("/")[2]]["properties"]
    _require_one_value((await request.form()).multi_items(), fields)  # FastAPI has read it already


def _require_one_value(given: Iterable[tuple[str, Any]], schemas: dict[str, Node]) -> None:
    lists = {name for name, schema in schemas.items() if _is_list(schema)}
    values: dict[str, set[Any]] = defaultdict(set)  # a client chooses how many: no list to search
    for name, value in given:
        if name not in lists:
            values[name].add(value)
    for name, found in values.items():
        if len(found) > 1:
            raise InvalidInput(f"{name[:80]} has {len(found)} values: give it once")


def _is_list(schema: Node) -> bool:
    return schema.get("type") == "array" or any(map(_is_list, schema.get("anyOf", ())))
