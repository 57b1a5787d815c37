"""The routes of an app, and their rows in the table of access rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import Request
from starlette.routing import BaseRoute, Mount

from service.access.rules import RULES, template


def flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """List every route; the routes of an included router take its place.

    Args:
        routes: of an app or a router.

    Yields:
        Routes that are not routers.
    """
    for route in routes:
        included = getattr(route, "original_router", None)  # FastAPI keeps included routers whole
        if included is None:
            yield route
        else:
            yield from flat(included.routes)


def row_of(route: BaseRoute, method: str) -> tuple[str, str]:
    """The key of a route's row in the table of rules.

    Args:
        route: the route.
        method: of the request; ``HEAD`` counts as ``GET``, and a mount only has ``GET``.

    Returns:
        The method and the route's template.
    """
    path = template(getattr(route, "path", repr(route)))
    return "GET" if isinstance(route, Mount) or method == "HEAD" else method, path


def require_rules(routes: Iterable[BaseRoute]) -> None:
    """Make sure that every route has a row in the table.

    Args:
        routes: of the app.

    Raises:
        RuntimeError: a route has no row; the message names it.
    """
    for route in flat(routes):
        methods = getattr(route, "methods", None) or {"GET"}
        for method in methods:
            if row_of(route, method) not in RULES:
                row = " ".join(row_of(route, method))
                raise RuntimeError(f"{row} has no row in service/access/rules.py")


def confirm_rule(request: Request) -> None:
    """Make sure that the rule which was applied belongs to the route that answers.

    The access middleware and the router match paths with the same code. If they ever disagree,
    nothing is answered.

    Raises:
        RuntimeError: they disagree.
    """
    row = row_of(request.scope["route"], request.method)
    if RULES.get(row) is not getattr(request.state, "rule", None):
        raise RuntimeError(f"{' '.join(row)} was reached without its rule")
