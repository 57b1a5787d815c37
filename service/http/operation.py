"""The route of a request, as the API document describes it."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from service.access.rules import template

Node = dict[str, Any]


def operation_of(request: Request) -> Node:
    """The route's entry in the API document; empty for routes that are not in it."""
    path = template(getattr(request.scope.get("route"), "path", ""))
    method = "get" if request.method == "HEAD" else request.method.lower()
    found: Node = request.app.openapi()["paths"].get(path, {}).get(method, {})
    return found
