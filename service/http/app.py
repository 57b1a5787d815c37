"""The HTTP application: routes, middleware, start-up, shutdown, and the only error handler."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from service.access.gate import Gate
from service.embedding.embedder import Embedder
from service.errors import ReidError
from service.gallery.protocol import GalleryStore
from service.http.given_once import query_given_once
from service.http.middleware.access import guard
from service.http.middleware.admission import Admission
from service.http.middleware.every_request import EveryRequest
from service.http.middleware.head import answer_head
from service.http.middleware.headers import add_headers
from service.http.middleware.proxies import ForwardedFor
from service.http.problems import answer_error
from service.http.route_table import confirm_rule
from service.http.routes import (
    audit,
    crops,
    detect,
    docs,
    embed,
    events,
    false_alerts,
    frames,
    galleries,
    identities,
    imports,
    jobs,
    keys,
    models,
    ops,
    page,
    search,
    seen,
    snapshots,
    vectors,
    watches,
)
from service.http.unknown_fields import require_known_query
from service.readiness import Clock
from service.settings import Settings
from service.wiring import Parts, open_parts

log = logging.getLogger(__name__)

_ROUTES = (
    vectors,  # first: on the same paths, it takes what is JSON
    search,
    seen,
    embed,
    detect,
    galleries,
    crops,
    frames,
    identities,
    watches,
    events,
    false_alerts,
    imports,
    jobs,
    keys,
    audit,
    models,
    ops,
    snapshots,
)
_ON_EVERY_ROUTE = [Depends(confirm_rule), Depends(require_known_query), Depends(query_given_once)]


def create_app(
    settings: Settings,
    *,
    embedder: Embedder | None = None,
    gallery_store: GalleryStore | None = None,
    clock: Clock = time.monotonic,
) -> FastAPI:
    """Build the application.

    Args:
        settings: every setting.
        embedder: replaces the model that the settings name.
        gallery_store: replaces the data folder that the settings name.
        clock: a monotonic clock, in seconds; tests replace it.

    Returns:
        An ASGI application; ``app.state.parts`` holds its parts.

    Raises:
        ArtifactError: the model violates the contract.
        Unavailable: the device or the data folder cannot be used.
    """
    parts = open_parts(settings, embedder, gallery_store, clock)
    routes, document = api()
    app = FastAPI(
        title=document["info"]["title"],
        version=document["info"]["version"],
        routes=routes,
        lifespan=_lifespan,
        openapi_url=None,  # service.http.routes.docs serves it
        docs_url=None,
        redoc_url=None,
        dependencies=_ON_EVERY_ROUTE,
        # Clients normalise /galleries/x/crops/.. to /galleries/x/, which must not mean the gallery.
        redirect_slashes=False,
    )
    app.state.parts = parts
    threads = parts.executors.bookkeeping
    limit, days = settings.requests_per_minute, settings.audit_days
    app.state.gate = Gate(settings.data, limit, days, threads)
    docs.install(app, document)
    page.install(app)
    answer_head(app)
    _surround(app, settings, clock)
    for error in (ReidError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, answer_error)
    return app


@cache
def api() -> tuple[list[BaseRoute], dict[str, Any]]:
    """The API: the same in every app of a process, and made once, because it takes half a second.

    Returns:
        Its routes, and its OpenAPI document. That is made before any app lets the routes answer
        ``HEAD`` too, because it should not describe each of them twice.
    """
    router = APIRouter(dependencies=_ON_EVERY_ROUTE)
    for module in _ROUTES:
        router.include_router(module.router)
    return router.routes, docs.describe(router.routes)


def _surround(app: FastAPI, settings: Settings, clock: Clock) -> None:
    """Add the middleware that each request passes before its route."""
    parts: Parts = app.state.parts
    # The last one added runs first: an id, then the key, then a place, then the route.
    app.add_middleware(Admission, settings=settings, parts=parts)
    guard(app, app.state.gate, settings)
    app.add_middleware(EveryRequest, settings=settings, parts=parts, clock=clock)
    add_headers(app, settings)
    if settings.trusted_proxies:
        app.add_middleware(ForwardedFor, trusted=settings.trusted_proxies)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    log.info(
        "model %s (%s): network on %s, search on %s",
        parts.manifest.name,
        parts.manifest.sha256[:12],
        parts.providers["network"],
        parts.providers["search"],
    )
    try:
        await parts.start()
        yield
    finally:
        try:
            await parts.close()
        finally:
            app.state.gate.close()
        log.info("drained")
