"""Two routes on one path: one reads a form with pictures, the other JSON with embeddings."""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope


class JsonRoute(APIRoute):
    """Matches only requests whose ``Content-Type`` is JSON; include it before the form's route."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as any route does, if the body is JSON."""
        if scope["type"] != "http" or not is_json(scope):
            return Match.NONE, {}
        return super().matches(scope)


def is_json(scope: Scope) -> bool:
    """Whether a request says that its body is JSON, ``application/json`` or ``…+json``."""
    kind = Headers(scope=scope).get("Content-Type", "").partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    return main == "application" and (sub == "json" or sub.endswith("+json"))


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What the form's route adds to the API document: the other kind of body it takes.

    Args:
        model: of the JSON body; the document describes it among its schemas.
    """
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}
