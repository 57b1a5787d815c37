"""``/docs`` and ``/openapi.json``; the page's assets come from a package, so it works offline."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import (  # type: ignore[import-untyped]  # ships no types
    swagger_ui_path,
)

from service.schemas import Problem

_ASSETS = "docs/assets"  # relative, so that a proxy may serve the service below a prefix


def install(app: FastAPI) -> None:
    """Add the documentation pages to an app whose routes are complete.

    Args:
        app: the application.
    """
    app.mount(f"/{_ASSETS}", StaticFiles(directory=swagger_ui_path), name="docs-assets")
    app.add_api_route("/docs", _page_of(app), include_in_schema=False)
    app.openapi = lambda: _schema_of(app)  # type: ignore[method-assign]  # FastAPI's own hook


def _page_of(app: FastAPI) -> Any:
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon-32x32.png",
    )

    def docs() -> HTMLResponse:
        return page

    return docs


def _schema_of(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        # Routes name the problem body by reference, because only so it gets its media type.
        schemas = schema["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"Problem": problem}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
