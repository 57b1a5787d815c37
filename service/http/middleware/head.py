"""``HEAD``: the status and headers of ``GET``, without the body."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


def answer_head(app: FastAPI) -> None:
    """Make every route with ``GET`` answer ``HEAD`` too, under the same access rule.

    The server leaves out the body. FastAPI, unlike Starlette, does not do this itself, and load
    balancers probe with ``HEAD``.

    Args:
        app: an app whose routes are complete and described.
    """
    for route in iter_route_contexts(app.routes):
        if route.methods is not None and "GET" in route.methods:
            route.methods.add("HEAD")
