"""``/docs`` and ``/openapi.json``. The page's assets come from a package, so it works offline."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import BaseRoute
from swagger_ui_bundle import (  # type: ignore[import-untyped]  # ships no types
    swagger_ui_path,
)

from service.access.rules import RULES
from service.api.problems import Problem
from service.errors import Forbidden, StorageFull, TooManyRequests, Unauthorized, Unavailable
from service.http.problems import MEDIA_TYPE, responses
from service.http.vector_bodies import BODIES

_TITLE = "HHCL-ReID"
_SUMMARY = "Find the same person again across cameras."
_ASSETS = "docs/assets"  # relative, so that it works below a path prefix
# Relative to the document's own address, so it is right below any path prefix, and no header of a
# client can change it.
_SERVER = {"url": ".", "description": "the service that serves this document"}
# Routes name these bodies by reference: FastAPI would not give them their media types.
_BY_REFERENCE = (Problem, *BODIES)
_UNREADABLE: tuple[HTTPStatus, ...] = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
)
_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "an API key; required once one exists",
}


def install(app: FastAPI, document: dict[str, Any]) -> None:
    """Add the documentation pages to an app.

    Args:
        app: the application.
        document: what :func:`describe` says of its routes.
    """
    app.mount(f"/{_ASSETS}", StaticFiles(directory=swagger_ui_path), name="docs-assets")
    app.add_api_route("/docs", _page_of(app), include_in_schema=False)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's own hook
    app.add_api_route("/openapi.json", _page_with(document), include_in_schema=False)


def _page_with(document: dict[str, Any]) -> Any:
    @cache
    def text() -> bytes:  # built once, because anyone may request it as often as they like
        return json.dumps(document, ensure_ascii=False).encode()

    async def schema() -> Response:
        return Response(text(), media_type="application/json")

    return schema


def _page_of(app: FastAPI) -> Any:
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon-32x32.png",
    )
    page.headers["Content-Security-Policy"] = _policy_of(bytes(page.body).decode())

    def docs() -> HTMLResponse:
        return page

    return docs


def _policy_of(page: str) -> str:
    """What the page may do: it may only run its own start script, identified by its hash."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in scripts)
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'self'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def describe(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """Describe the routes of an API.

    Args:
        routes: the routes, none of which answers ``HEAD`` yet.

    Returns:
        The OpenAPI document.
    """
    schema = get_openapi(
        title=_TITLE,
        version=version("hhcl-reid"),
        summary=_SUMMARY,
        routes=routes,
        servers=[_SERVER],
    )
    schemas = schema["components"]["schemas"]
    for model in _BY_REFERENCE:
        described = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= described.pop("$defs", {}) | {model.__name__: described}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _add_refusals(schema)
    _add_access(schema)
    return schema


def _add_refusals(schema: dict[str, Any]) -> None:
    """Document the rejection of unreadable bodies and of addresses that are too long."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for _, operation in _operations(schema):
        statuses = _UNREADABLE if "requestBody" in operation else ()
        if any(given["in"] == "query" for given in operation.get("parameters", ())):
            statuses += (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,)
        for status in statuses:
            refusal = {"description": status.phrase, "content": content}
            operation["responses"].setdefault(str(status.value), refusal)


def _add_access(schema: dict[str, Any]) -> None:
    """Document which routes need a key, by the table of rules, and how they reject requests."""
    schema["components"]["securitySchemes"] = {"key": _KEY}
    refusals = responses(Unauthorized, Forbidden, TooManyRequests)
    unlogged = responses(StorageFull, Unavailable)  # while the audit log accepts no entries
    for row, operation in _operations(schema):
        if RULES[row].scope == "open":
            continue
        operation["security"] = [{"key": []}]
        for status, refusal in refusals.items():
            operation["responses"].setdefault(str(status), refusal)
        if RULES[row].audit != "none":
            for status, refusal in unlogged.items():
                operation["responses"].setdefault(str(status), refusal)


def _operations(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield (method.upper(), path), operation
