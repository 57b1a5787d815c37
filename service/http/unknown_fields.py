"""Unknown fields: which names a request allows, and which one was probably meant.

The allowed names are those of the API document, so a suggestion is always a documented field.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from service.http.operation import Node, operation_of
from service.http.plain_lines import one_line

_LONGEST = 80  # characters of a name that an answer repeats
_FEW = 12  # names; a longer list helps nobody
_CUTOFF = 0.6  # difflib's measure of likeness; 1 is equal


async def require_known_query(request: Request) -> None:
    """Reject query parameters that the route does not have; open routes ignore them.

    Load balancers and browsers add parameters of their own to probes and pages.

    Raises:
        RequestValidationError: one entry per unknown parameter.
    """
    given = request.query_params
    if not given or request.state.rule.scope == "open":
        return
    known = _query_names(operation_of(request))
    unknown = [name for name in given if name not in known]
    if unknown:
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": ""} for name in unknown]
        )


def describe_unknown(request: Request, place: Sequence[str | int], *, alone: bool) -> str:
    """Say that a field is unknown, and which one was probably meant.

    Args:
        request: whose route names the allowed fields.
        place: ``body`` or ``query``, then the path to the field, as validation errors have it.
        alone: whether this is the request's only error, so that there is room for a list of the
            allowed names.

    Returns:
        A sentence. The client's own text in it is bounded and printable.
    """
    carrier, *path, name = place
    operation = operation_of(request)
    in_query = carrier == "query"
    allowed = _query_names(operation) if in_query else _body_names(request, operation, path)
    unknown = f"Unknown field `{_plain(str(name))}`"
    if closest := _closest(str(name), allowed):
        return f"{unknown}; did you mean `{closest}`?"
    if in_query and not allowed:
        return f"{unknown}: {_without_query(operation)}"
    if alone and 0 < len(allowed) <= _FEW:
        return f"{unknown}; allowed: {', '.join(f'`{one}`' for one in allowed)}"
    return unknown


def _without_query(operation: Node) -> str:
    if any(given["name"] == "crop_id" for given in operation.get("parameters", ())):
        return "a crop's address takes no query; write a '?' in a crop id as %3F"
    if "requestBody" in operation:
        return "this address takes no query; send the field in the request body"
    return "this address takes no query"


def _closest(name: str, allowed: Sequence[str]) -> str | None:
    if len(name) > _LONGEST:
        return None
    folded = {_folded(one): one for one in allowed}
    found = difflib.get_close_matches(_folded(name), folded, n=1, cutoff=_CUTOFF)
    return folded[found[0]] if found else None


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_")


def _plain(name: str) -> str:
    shown = one_line(name[:_LONGEST]).replace("`", "'")
    return shown if len(name) <= _LONGEST else f"{shown}…"


def _query_names(operation: Node) -> list[str]:
    parameters = operation.get("parameters", ())
    return [given["name"] for given in parameters if given["in"] == "query"]


def _body_names(request: Request, operation: Node, path: Sequence[str | int]) -> list[str]:
    """Names of the object at a place in the body, in the order of the document."""
    contents = operation.get("requestBody", {}).get("content", {})
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    kind = "application/json" if kind.endswith("+json") else kind
    chosen = [contents[kind]] if kind in contents else contents.values()
    schemas = request.app.openapi()["components"]["schemas"]
    found = [name for one in chosen for name in _names_at(schemas, one["schema"], path)]
    return list(dict.fromkeys(found))


def _names_at(schemas: Node, node: Node, path: Sequence[str | int]) -> list[str]:
    if "$ref" in node:
        node = schemas.get(node["$ref"].rpartition("/")[2], {})
    properties = node.get("properties", {})
    names = list(properties) if not path else []
    if path:
        inner = node.get("items") if isinstance(path[0], int) else properties.get(path[0])
        names += _names_at(schemas, inner, path[1:]) if inner else []
    for same in (*node.get("anyOf", ()), *filter(None, [node.get("contentSchema")])):
        names += _names_at(schemas, same, path)
    return names
